"""The notebooks run, learn and find; as a reader would run them, in an interpreter of their own."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.demo.demo_modules import DEMO
from tests.demo.notebook_runner import code_cells
from tests.demo.test_predictor import checkpoint, config

SHAPES, DETECT = DEMO / "shapes_dataset_demo.ipynb", DEMO / "Mask_R-CNN_demo.ipynb"
RUNNER = Path(__file__).with_name("notebook_runner.py")


def run(notebook: Path, folder: Path, **variables: object) -> str:
    """Run a notebook; what its cells show is put into `folder`, what they print is returned."""
    folder.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if "_DEMO_" not in name}
    done = subprocess.run(
        [sys.executable, str(RUNNER), str(notebook), str(folder)],
        capture_output=True,
        text=True,
        env={**kept, **{name: str(value) for name, value in variables.items()}},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def overlap(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    """Intersection over union."""
    both = np.array([a, b])
    shared = np.prod(np.clip(both[:, 2:].min(axis=0) - both[:, :2].max(axis=0), 0, None))
    return float(shared / (np.prod(both[:, 2:] - both[:, :2], axis=1).sum() - shared))


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What the notebook on shapes shows, and the run that it leaves."""
    root = tmp_path_factory.mktemp("shapes")
    run(SHAPES, root / "shown", SHAPES_OUTPUT=root / "run", SHAPES_BASE=root / "none")
    return root / "shown", root / "run"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_shapes_are_learned(shapes: tuple[Path, Path]) -> None:
    shown, folder = shapes
    scores = ast.literal_eval((shown / "6.txt").read_text())
    assert scores["bbox"]["AP50"] > 0.6
    assert scores["segm"]["AP50"] > 0.6
    assert (folder / "model_final.pth").is_file()
    assert sorted(path.name for path in shown.glob("*.png")) == ["2.png", "3.png", "7.png"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_was_learned_is_found_in_a_picture(shapes: tuple[Path, Path], tmp_path: Path) -> None:
    picture = Image.new("RGB", (512, 512), (40, 120, 90))
    pen = ImageDraw.Draw(picture)
    pen.polygon([40, 240, 150, 40, 260, 240], fill=(220, 60, 40))
    pen.rectangle((300, 300, 460, 460), fill=(60, 60, 220))
    picture.save(tmp_path / "picture.png")
    printed = run(
        DETECT,
        tmp_path / "shown",
        MASKRCNN_DEMO_MODEL=shapes[1],
        MASKRCNN_DEMO_IMAGE=tmp_path / "picture.png",
    )
    assert "3 classes: square circle triangle" in printed
    lines = re.findall(r"^(\w+) +0\.\d+ +(\[.*\])$", printed, re.MULTILINE)
    found = {name: ast.literal_eval(box) for name, box in lines}
    assert overlap(found["triangle"], (40, 40, 260, 240)) > 0.6
    assert overlap(found["square"], (300, 300, 460, 460)) > 0.6
    before, after, heat = (
        np.asarray(Image.open(tmp_path / "shown" / f"{number}.png")) for number in (3, 4, 6)
    )
    np.testing.assert_array_equal(before, np.asarray(picture))
    changed = (before != after).any(axis=2)
    assert 0.005 < changed.mean() < 0.1
    assert heat.shape == (512, 512, 3)
    # Red somewhere in the first cell, dark blue at its corner (RGB).
    assert (heat[:256, :256, 0] > 200).any()
    assert heat[0, 0].tolist() == [0, 0, 128]
    assert (tmp_path / "shown" / "7.txt").read_text() == "'no model with keypoints was named'"


def test_fine_tuning_starts_from_weights_of_other_classes(tmp_path: Path) -> None:
    """The notebook up to the training, with weights of five other classes."""
    first = json.loads(SHAPES.read_text(encoding="utf-8"))
    code = [number for number, cell in enumerate(first["cells"]) if cell["cell_type"] == "code"]
    first["cells"] = first["cells"][: code[3] + 1]
    part = DEMO / f"part-{os.getpid()}.ipynb"
    end = "print(cfg.SOLVER.MAX_ITER, float(model.rpn.head.conv.weight.sum()))"
    first["cells"].append({"cell_type": "code", "source": [end]})

    import torch

    from maskrcnn_benchmark.build.config_files import find_config
    from maskrcnn_benchmark.config import get_defaults

    cfg = get_defaults()
    cfg.merge_from_file(find_config("quickstart/mask_rcnn_toy.yaml"))
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", "MODEL.ROI_BOX_HEAD.NUM_CLASSES", 6])
    base = checkpoint(cfg, tmp_path / "base.pth")
    expected = torch.load(base, weights_only=True)["model"]["rpn.head.conv.weight"].sum()
    try:
        part.write_text(json.dumps(first), encoding="utf-8")
        printed = run(part, tmp_path / "shown", SHAPES_OUTPUT=tmp_path / "run", SHAPES_BASE=base)
    finally:
        part.unlink()
    iterations, total = printed.split()[-2:]
    assert int(iterations) == 150
    assert float(total) == pytest.approx(float(expected), rel=1e-5)


def test_boxes_alone_and_keypoints(tmp_path: Path) -> None:
    """The notebook on detection, with a random model without masks and one with keypoints."""
    for name in ("faster", "keypoint"):
        (tmp_path / name).mkdir()
        checkpoint(config(tmp_path, name), tmp_path / name / "model_final.pth")
    Image.new("RGB", (160, 120), (90, 40, 120)).save(tmp_path / "picture.png")
    run(
        DETECT,
        tmp_path / "shown",
        MASKRCNN_DEMO_MODEL=tmp_path / "faster",
        MASKRCNN_DEMO_KEYPOINT_MODEL=tmp_path / "keypoint",
        MASKRCNN_DEMO_IMAGE=tmp_path / "picture.png",
    )
    assert (tmp_path / "shown" / "6.txt").read_text() == "'this model has no masks'"
    with Image.open(tmp_path / "shown" / "7.png") as people:
        assert people.size == (160, 120)


@pytest.mark.parametrize("notebook", [SHAPES, DETECT], ids=lambda path: path.stem)
def test_nothing_of_a_run_is_stored(notebook: Path) -> None:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
    text = notebook.read_text(encoding="utf-8")
    assert not re.search(r"/work/|/home/|/Users/|/tmp/", text)
    ids = [cell["id"] for cell in content["cells"]]
    assert len(set(ids)) == len(ids)
    assert len(code_cells(notebook)) == 7
