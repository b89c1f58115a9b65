"""The Python of docs/how-to/predict.md runs, block after block, as a reader would type it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import MakeRun

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "predict.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_examples_run(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    make_run(name="runs/shapes")
    noise = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)
    Image.fromarray(noise).resize((180, 120)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) == 5
    names: dict[str, object] = {"__name__": "example"}
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
    for name in ("found.jpg", "found.json", "found.csv", "found.png"):
        assert (tmp_path / name).is_file()
