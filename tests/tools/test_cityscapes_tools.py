"""The tools for Cityscapes as they are called from a shell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from maskrcnn_benchmark.utils.imports import import_file
from tests.data.datasets.cityscapes_folder import write_cityscapes

TOOL = "tools/cityscapes/convert_cityscapes_to_coco.py"


def run(repository: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)


def test_conversion(repository: Path, tmp_path: Path) -> None:
    write_cityscapes(tmp_path / "gtFine_trainvaltest", images=False)
    words = [
        "--dataset",
        "cityscapes_instance_only",
        "--datadir",
        tmp_path,
        "--outdir",
        tmp_path / "o",
    ]
    result = run(repository, TOOL, *words)
    assert result.returncode == 0, result.stderr
    assert "Starting train\nProcessed 0 images, 0 annotations\nNum categories: 3\n" in result.stdout
    assert "val: left out" in result.stdout
    (path,) = (tmp_path / "o").iterdir()
    assert path.name == "instancesonly_filtered_gtFine_train.json"
    content = json.loads(path.read_text())
    assert [entry["name"] for entry in content["categories"]] == ["person", "car", "bicycle"]


def test_words_that_do_not_go_together(repository: Path, tmp_path: Path) -> None:
    result = run(repository, TOOL)
    assert (result.returncode, result.stdout[:6]) == (1, "usage:")
    result = run(repository, TOOL, "--dataset", "cocostuff", "--datadir", "a", "--outdir", "b")
    assert (result.returncode, result.stdout) == (1, "Dataset not supported: cocostuff\n")
    words = ["--dataset", "cityscapes_instance_only", "--datadir", tmp_path, "--outdir", tmp_path]
    result = run(repository, TOOL, *words)
    assert result.returncode == 2
    assert "unpack gtFine_trainvaltest.zip there" in result.stderr
    assert "Traceback" not in result.stderr


def test_instances_with_polygons(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cityscapes(tmp_path)
    file = repository / "tools" / "cityscapes" / "instances2dict_with_polygons.py"
    module = import_file("instances2dict_with_polygons", file)
    path = tmp_path / "gtFine" / "train" / "bonn" / "bonn_000_gtFine_instanceIds.png"
    found = module.instances2dict_with_polygons([str(path)], verbose=True)
    assert list(found) == [str(path)]
    assert found[str(path)]["car"] == []
    assert found[str(path)]["bicycle"] == [
        {
            "instID": 33001,
            "labelID": 33,
            "pixelCount": 400,
            "bbox": [40, 2, 59, 21],
            "contours": [[40, 2, 60, 2, 60, 22, 40, 22]],
        }
    ]
    assert "Images Processed: 1" in capsys.readouterr().out
    assert module.instances2dict_with_polygons(str(path)) == found
    result = run(repository, file, path)
    assert json.loads(result.stdout) == found


@pytest.mark.shared_data
def test_the_shared_folder(repository: Path, shared: Path, tmp_path: Path) -> None:
    data = shared / "data" / "cityscapes_format" / "cityscapes"
    words = ["--dataset", "cityscapes_instance_only", "--datadir", data, "--outdir", tmp_path]
    assert run(repository, TOOL, *words).returncode == 0
    contents = {
        name: json.loads((tmp_path / f"instancesonly_filtered_gtFine_{name}.json").read_text())
        for name in ("val", "train", "test")
    }
    assert [len(content["annotations"]) for content in contents.values()] == [0, 17, 0]
    for content in contents.values():
        assert content["categories"] == [{"id": 1, "name": "car"}, {"id": 2, "name": "truck"}]
