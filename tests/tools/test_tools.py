"""The old tools, alone and under both launchers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from maskrcnn_benchmark.config import get_defaults

SMALL = [
    *("DATASETS.TRAIN", "('squares',)", "DATASETS.TEST", "('squares',)"),
    *("MODEL.DEVICE", "cpu", "MODEL.ROI_BOX_HEAD.NUM_CLASSES", "2"),
    *("INPUT.MIN_SIZE_TRAIN", "(48,)", "INPUT.MIN_SIZE_TEST", "48"),
    *("DATALOADER.NUM_WORKERS", "0", "TEST.IMS_PER_BATCH", "2"),
    *("SOLVER.IMS_PER_BATCH", "2", "SOLVER.WARMUP_ITERS", "1"),
]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """The quickstart's network, for two pictures of one square each."""
    root = tmp_path_factory.mktemp("tools")
    square = {
        "category_id": 1,
        "bbox": [8, 8, 32, 32],
        "area": 1024,
        "iscrowd": 0,
        "segmentation": [[8, 8, 40, 8, 40, 40, 8, 40]],
    }
    images = []
    for index in range(2):
        picture = Image.new("RGB", (64, 48), (90, 120, 90))
        picture.paste((220, 40, 40), (8, 8, 40, 40))
        picture.save(root / f"{index}.png")
        images.append({"id": index, "file_name": f"{index}.png", "width": 64, "height": 48})
    content = {
        "images": images,
        "annotations": [{"id": index, "image_id": index, **square} for index in range(2)],
        "categories": [{"id": 1, "name": "square"}],
    }
    (root / "squares.json").write_text(json.dumps(content))
    cfg = get_defaults()
    cfg.merge_from_file(repository / "configs/quickstart/mask_rcnn_toy.yaml")
    custom = {"squares": {"ann_file": str(root / "squares.json"), "img_dir": str(root)}}
    cfg.merge_from_list([*SMALL, "DATASETS.CUSTOM", custom])
    (root / "small.yaml").write_text(cfg.dump())
    return root / "small.yaml"


def run(repository: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    with subprocess.Popen(
        [sys.executable, *map(str, words)],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=240)
        except BaseException:
            # Not SIGKILL: a launcher ends its workers when it is asked to end.
            process.terminate()
            raise
    print(output, errors)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def test_train_then_test(repository: Path, config: Path, tmp_path: Path) -> None:
    words = ["--config-file", config, "--skip-test", "SOLVER.MAX_ITER", "1", "OUTPUT_DIR", tmp_path]
    assert run(repository, "tools/train_net.py", *words).returncode == 0
    assert (tmp_path / "model_final.pth").is_file()
    assert not (tmp_path / "inference").exists()

    expected = "[['bbox', 'AP', [2.0, 0.1]]]"
    weights = ["--ckpt", tmp_path / "model_final.pth"]
    words = ["--config-file", config, *weights, "OUTPUT_DIR", tmp_path / "elsewhere"]
    result = run(repository, "tools/test_net.py", *words, "TEST.EXPECTED_RESULTS", expected)
    assert result.returncode == 1
    assert "not reached on squares" in result.stderr
    assert (tmp_path / "elsewhere" / "inference" / "squares" / "segm.json").is_file()


@pytest.mark.parametrize("launcher", ["torch.distributed.run", "torch.distributed.launch"])
def test_launchers(repository: Path, config: Path, tmp_path: Path, launcher: str) -> None:
    start = ["-m", launcher, "--standalone", "--nproc_per_node=2", "tools/train_net.py"]
    words = ["--config-file", config, "SOLVER.MAX_ITER", "2", "OUTPUT_DIR", tmp_path]
    result = run(repository, *start, *words)
    assert result.returncode == 0
    assert len(re.findall(r"Using 2 .*processes", result.stdout)) == 1
    assert result.stdout.count("Task: segm") == 1
    assert (tmp_path / "inference" / "squares" / "bbox.json").is_file()


@pytest.mark.parametrize("tool", ["train_net", "test_net"])
def test_mistakes_are_one_block(repository: Path, tool: str) -> None:
    result = run(repository, f"tools/{tool}.py", "--config-file", "configs/no_such.yaml")
    assert result.returncode == 2
    assert result.stderr.startswith("ConfigError: ")
    assert "Traceback" not in result.stderr
