"""The verbs one after the other, on a network that is as small as it can be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from maskrcnn_benchmark.cli import app

TINY = [
    *("--config-file", "quickstart/mask_rcnn_toy"),
    *("MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", "0"),
    *("INPUT.MIN_SIZE_TRAIN", "(48,)", "INPUT.MIN_SIZE_TEST", "48"),
    *("SOLVER.IMS_PER_BATCH", "2", "TEST.IMS_PER_BATCH", "1", "SOLVER.WARMUP_ITERS", "1"),
]


def run(*words: str | Path) -> Result:
    result = CliRunner().invoke(app, [*map(str, words)])
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def trained(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two iterations, moved after training."""
    folder = tmp_path_factory.mktemp("runs") / "squares"
    result = run("train", "--data", squares, "-o", folder, *TINY, "SOLVER.MAX_ITER", "2")
    assert result.exit_code == 0
    return folder.rename(folder.with_name("moved"))


def test_train_leaves_a_run(trained: Path) -> None:
    assert {"model_final.pth", "last_checkpoint", "config.yml", "train.log"} <= {
        path.name for path in trained.iterdir()
    }
    assert json.loads((trained / "labels.json").read_text()) == {"7": "square", "9": "disc"}
    results = json.loads((trained / "inference/squares_val/coco_results.json").read_text())
    assert set(results["results"]) == {"bbox", "segm"}


def test_test_takes_the_folder_of_a_run(trained: Path) -> None:
    result = run("test", trained)
    assert result.exit_code == 0
    assert "Task: segm" in result.output


def scored(folder: Path) -> list[dict[str, object]]:
    """Detections that a test left."""
    rows = json.loads((folder / "inference/squares_val/bbox.json").read_text())
    assert rows
    return rows


def test_results_of_the_same_weights_go_elsewhere(trained: Path, tmp_path: Path) -> None:
    run("test", trained)
    result = run("test", trained, "OUTPUT_DIR", tmp_path)
    assert result.exit_code == 0
    assert scored(tmp_path) == scored(trained)


def test_test_takes_a_file_of_weights(trained: Path, tmp_path: Path) -> None:
    # It knows its config by itself; its results go beside it.
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((trained / "model_final.safetensors").read_bytes())
    for file in (alone, trained / "model_final.pth"):
        assert run("test", file).exit_code == 0
    assert scored(tmp_path / "alone") == scored(trained)


def test_one_file_of_weights_at_a_time(trained: Path) -> None:
    file = trained / "model_final.pth"
    result = run("test", file, "--ckpt", file)
    assert result.exit_code == 2
    assert "Give one file of weights" in result.output


def test_random_weights_are_not_tested_in_silence(trained: Path, tmp_path: Path) -> None:
    result = run("test", "-c", trained / "config.yml", "OUTPUT_DIR", tmp_path)
    assert result.exit_code == 0
    assert "tested with random weights" in result.output


@pytest.mark.parametrize(("expected", "code"), [(0.9, 1), (0.0, 0)])
def test_expected_results_are_a_gate(trained: Path, expected: float, code: int) -> None:
    rows = f"[['bbox', 'AP', [{expected}, 0.1]]]"
    result = run("test", trained, "TEST.EXPECTED_RESULTS", rows)
    assert result.exit_code == code
    assert ("not reached on squares_val" in result.stderr) == bool(code)


def test_predict_writes_pictures_and_json(trained: Path, squares: Path, tmp_path: Path) -> None:
    output = tmp_path / "found"
    result = run("predict", trained, squares / "val", "-o", output, "--threshold", "0")
    assert result.exit_code == 0
    assert [path.name for path in output.glob("*.jpg")] == ["val0.jpg"]
    content = json.loads((output / "predictions.json").read_text())
    assert [each["name"] for each in content["categories"]] == ["square", "disc"]
    assert content["annotations"]


def test_predict_fails_when_nothing_could_be_read(trained: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    result = run("predict", trained, broken, "-o", tmp_path / "found")
    assert result.exit_code == 1
    assert "1 files could not be read" in result.stderr


def test_training_without_test_annotations_says_so(squares: Path, tmp_path: Path) -> None:
    files = ["--train-json", squares / "train.json", "--train-images", squares / "train"]
    result = run("train", *files, "-o", tmp_path, *TINY, "SOLVER.MAX_ITER", "1")
    assert result.exit_code == 0
    assert "No validation annotations" in result.output
    assert not (tmp_path / "inference").exists()


def test_wrong_class_count_names_both_numbers(squares: Path, tmp_path: Path) -> None:
    words = ["MODEL.ROI_BOX_HEAD.NUM_CLASSES", "2", "SOLVER.MAX_ITER", "1"]
    result = run("train", "--data", squares, "-o", tmp_path, *TINY, *words)
    assert result.exit_code == 2
    assert "NUM_CLASSES must be at least 3 (background included), got 2" in result.stderr


PARTS = """
from torch import nn
from maskrcnn_benchmark.modeling import registry


def setup_environment():
    @registry.BACKBONES.register("users-net")
    class UsersNet(nn.Module):
        def __init__(self, cfg):
            super().__init__()
            self.out_channels = 8
            self.fine = nn.Conv2d(3, 8, 4, stride=4)
            self.coarse = nn.Conv2d(8, 8, 2, stride=2)

        def forward(self, images):
            fine = self.fine(images)
            return [fine, self.coarse(fine)]
"""


def run_with_parts(parts: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "maskrcnn_benchmark", *map(str, words)],
        env={**os.environ, "TORCH_DETECTRON_ENV_MODULE": str(parts)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_parts_of_the_environment_module_train_and_predict(squares: Path, tmp_path: Path) -> None:
    parts = tmp_path / "my_parts.py"
    parts.write_text(PARTS)
    words = [
        *("MODEL.BACKBONE.CONV_BODY", "users-net", "MODEL.RPN.ANCHOR_STRIDE", "(4, 8)"),
        *(
            "MODEL.RPN.ANCHOR_SIZES",
            "(16, 32)",
            "MODEL.ROI_BOX_HEAD.POOLER_SCALES",
            "(0.25, 0.125)",
        ),
        *("MODEL.MASK_ON", "False", "SOLVER.MAX_ITER", "1"),
    ]
    folder = tmp_path / "run"
    train = ["train", "--data", squares, "-o", folder, "--skip-test", *TINY, *words]
    done = run_with_parts(parts, *train)
    assert done.returncode == 0, done.stderr
    saved = torch.load(folder / "model_final.pth", weights_only=True)["model"]
    assert saved["backbone.coarse.weight"].shape == (8, 8, 2, 2)

    done = run_with_parts(parts, "predict", folder, squares / "val", "-o", tmp_path / "found")
    assert done.returncode == 0, done.stderr

    done = run_with_parts(tmp_path / "none.py", *train)
    assert done.returncode == 2
    assert "TORCH_DETECTRON_ENV_MODULE must name a Python file" in done.stderr
