"""A run's folder with a thin Mask R-CNN that finds something in drawn pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from maskrcnn_benchmark.build.model import build_model
from tests.build.toy_run import make_config
from tests.export.architectures import normalise_batch_norms, spread

CLASS_NAMES = ["__background__", "one", "two", "three", "four", "five"]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    cfg = make_config(folder)
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    normalise_batch_norms(model, contrast=50)  # As that of photographs, 0-255.
    spread(model, contrast=50)
    path = folder / "run"
    path.mkdir()
    (path / "config.yml").write_text(cfg.dump())
    about = {"class_names": CLASS_NAMES, "category_ids": [1, 2, 3, 4, 5]}
    torch.save({"model": model.state_dict(), **about}, path / "model_final.pth")
    (path / "last_checkpoint").write_text(str(path / "model_final.pth"))
    return path


@pytest.fixture(scope="session")
def pictures(run: Path) -> list[Path]:
    return sorted((run.parent / "data").rglob("*.jpg"))[:3]
