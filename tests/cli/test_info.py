from __future__ import annotations

import re
from pathlib import Path

import torch
from typer.testing import CliRunner

from maskrcnn_benchmark.build.config_files import find_config
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.build.model_file import make_manifest
from maskrcnn_benchmark.checkpoint.files import write_safetensors
from maskrcnn_benchmark.cli import app
from maskrcnn_benchmark.config import get_defaults

THIN = [
    *("MODEL.RESNETS.WIDTH_PER_GROUP", "8", "MODEL.RESNETS.STEM_OUT_CHANNELS", "8"),
    *("MODEL.RESNETS.RES2_OUT_CHANNELS", "32", "MODEL.RESNETS.BACKBONE_OUT_CHANNELS", "16"),
    *("MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM", "32", "MODEL.ROI_BOX_HEAD.NUM_CLASSES", "3"),
    *("INPUT.MIN_SIZE_TEST", "64", "INPUT.MAX_SIZE_TEST", "96"),
]


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["info", *words])
    assert result.exit_code == code, result.output
    return result.output


def test_a_config() -> None:
    text = run("e2e_faster_rcnn_R_50_FPN_1x", *THIN)
    assert "Faster R-CNN, R-50-FPN" in text
    assert "BGR, 0-255" in text
    assert "2 and background" in text
    (line,) = (each for each in text.splitlines() if each.startswith("roi_heads.box"))
    assert line.split()[1] == "BoxHead"
    # fc6, fc7, class and box layers.
    assert line.split()[4] == "4"
    weights = 16 * 49 * 32 + 32 + 32 * 32 + 32 + 33 * 3 + 33 * 12
    assert line.split()[2] == line.split()[3] == f"{weights:,}"


def test_a_file_of_weights(tmp_path: Path) -> None:
    cfg = get_defaults()
    cfg.merge_from_file(find_config("e2e_faster_rcnn_R_50_FPN_1x"))
    cfg.merge_from_list(list(THIN))
    manifest = make_manifest(
        cfg,
        class_names=["__background__", "almond", "date"],
        metrics={"nuts": {"bbox": {"AP": 0.625}}},
        provenance={
            **{"iteration": 400, "dialect": "caffe2", "started_from": ""},
            "trained_on": ["nuts_train", "more"],
        },
    )
    path = tmp_path / "nuts.safetensors"
    write_safetensors(path, build_model(cfg).state_dict(), manifest)
    text = run(str(path), "--without-flops")
    assert "2: almond, date" in text
    assert "nuts bbox AP" in text
    assert re.search(r"converted from +Detectron \(Caffe2\)\n", text)
    assert re.search(r"trained on +nuts_train, more\n", text)
    assert "started" not in text
    assert "62.5" in text
    assert "Faster R-CNN, R-50-FPN" in text


def test_a_backbone_alone_is_described_without_a_network(tmp_path: Path) -> None:
    path = tmp_path / "body.pth"
    torch.save({"features.0.weight": torch.zeros(4, 3, 3, 3)}, path)
    text = run(str(path))
    assert "no whole detector" in text
    assert re.search(r"dialect +unknown\n", text)
    assert "1 (108 numbers" in text
    assert "GFLOPs" not in text


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.pth"
    page.write_text("<!doctype html><title>404</title>")
    assert "web page" in run(str(page), code=1).lower()
    assert "Did you mean" in run("e2e_mask_rcnn_R_50_FPN_1", code=2)
    assert "there is no checkpoint at gone.safetensors" in run("gone.safetensors", code=1)
