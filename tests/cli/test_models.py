from __future__ import annotations

import json

from typer.testing import CliRunner

from maskrcnn_benchmark.cli import app


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["models", *words])
    assert result.exit_code == 0
    return result.output


def test_one_line_for_each_with_name_task_backbone_and_figures() -> None:
    lines = run("e2e_mask_rcnn_R_50_FPN_1x.yaml").splitlines()
    assert lines[0].split() == ["name", "task", "backbone", "published"]
    (line,) = (each for each in lines if each.startswith("e2e_mask_rcnn_R_50_FPN_1x.yaml"))
    assert "Mask R-CNN" in line
    assert "R-50-FPN" in line
    assert line.endswith("box AP 37.8, mask AP 34.2 (maskrcnn-benchmark, COCO 2014 minival)")


def test_weights_on_request() -> None:
    assert "https://" not in run("R-101-GN")
    assert "R-101-GN.pkl" in run("R-101-GN", "--weights")


def test_json() -> None:
    (entry,) = json.loads(run("R-101-GN", "--json"))
    assert entry["name"] == "catalog://ImageNetPretrained/MSRA/R-101-GN"
    assert entry["task"] == "ImageNet"


def test_nothing_found_is_said() -> None:
    assert "Nothing has 'yolo'" in run("yolo")
