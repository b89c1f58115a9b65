"""One process with batch 4 against two with batch 2: the same images, losses and gradients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.build.toy_run import make_config

WORKER = Path(__file__).with_name("stream_worker.py")
ITERATIONS = 20
WIDTH, HEIGHT = 128, 96


def make_equal_sizes(folder: Path) -> None:
    """Stretch the drawn pictures to one size: batches of any images are padded alike then."""
    path = folder / "data" / "annotations" / "instances_train.json"
    document = json.loads(path.read_text())
    scale = {}
    for image in document["images"]:
        file = folder / "data" / "train" / image["file_name"]
        scale[image["id"]] = (WIDTH / image["width"], HEIGHT / image["height"])
        with Image.open(file) as picture:
            picture.resize((WIDTH, HEIGHT)).save(file)
        image.update(width=WIDTH, height=HEIGHT)
    kept = []
    for annotation in document["annotations"]:
        if isinstance(annotation["segmentation"], dict):
            continue
        sx, sy = scale[annotation["image_id"]]
        annotation["bbox"] = (np.array(annotation["bbox"]) * (sx, sy, sx, sy)).tolist()
        annotation["segmentation"] = [
            (np.array(part).reshape(-1, 2) * (sx, sy)).ravel().tolist()
            for part in annotation["segmentation"]
        ]
        kept.append(annotation)
    document["annotations"] = kept
    path.write_text(json.dumps(document))


def run_worker(folder: Path, *, processes: int) -> None:
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    repository = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository)}
    result = subprocess.run(
        [*launcher, str(WORKER), str(folder), str(ITERATIONS)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("stream")
    cfg = make_config(
        folder,
        MODEL__RESNETS__NORM="FrozenBN",
        MODEL__RPN__FPN_POST_NMS_PER_BATCH=False,
        MODEL__RPN__BATCH_SIZE_PER_IMAGE=32,
        MODEL__ROI_HEADS__BATCH_SIZE_PER_IMAGE=16,
        INPUT__MIN_SIZE_TRAIN=(HEIGHT,),
        INPUT__MAX_SIZE_TRAIN=WIDTH,
        INPUT__BRIGHTNESS=0.3,
        DATALOADER__NUM_WORKERS=2,
        SOLVER__IMS_PER_BATCH=4,
        SOLVER__MAX_ITER=ITERATIONS,
    )
    make_equal_sizes(folder)
    (folder / "config.yml").write_text(cfg.dump())
    run_worker(folder, processes=1)
    run_worker(folder, processes=2)
    return folder


def load(folder: Path, name: str) -> Any:
    return torch.load(folder / name, weights_only=True)


@pytest.mark.slow
def test_two_processes_see_what_one_sees(runs: Path) -> None:
    alone = load(runs, "seen_False_0.pth")
    first, second = load(runs, "seen_True_0.pth"), load(runs, "seen_True_1.pth")
    assert len(alone) == ITERATIONS
    assert [a + b for a, b in zip(first, second, strict=True)] == alone
    # Several passes over 16 images, and not the same augmentation in each.
    pixels = {(row["index"], row["pixels"]) for batch in alone for row in batch}
    assert len(pixels) > len({row["index"] for batch in alone for row in batch})


@pytest.mark.slow
def test_losses_and_averaged_gradients_are_those_of_one_process(runs: Path) -> None:
    one, two = load(runs, "step_False.pth"), load(runs, "step_True.pth")
    for name, value in one["losses"].items():
        if name != "loss_mask":
            assert two["losses"][name] == pytest.approx(value, rel=1e-4), name
    # loss_mask is divided by the number of positives, of which each process has its own: a mean of two means.
    assert two["losses"]["loss_mask"] == pytest.approx(one["losses"]["loss_mask"], rel=0.2)
    assert one["gradients"].keys() == two["gradients"].keys()
    for name, gradient in one["gradients"].items():
        difference = float((two["gradients"][name] - gradient).norm())
        assert difference <= 1e-4 * float(gradient.norm()) + 1e-9, name
