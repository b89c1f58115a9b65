from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from maskrcnn_benchmark.bench import memory
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.build.model_file import write_model_file
from maskrcnn_benchmark.cli import app
from maskrcnn_benchmark.cli.bench import Lower, _variants
from tests.bench.test_contestants import make_config
from tests.cli.test_info import THIN

CONFIG = "e2e_faster_rcnn_R_50_FPN_1x"
SMALL = ["--size", "64", "96", "--rounds", "1", "--json"]


def run(*words: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["bench", *words])
    assert result.exit_code == code, result.output
    return json.loads(result.output[result.output.index("{") :]) if not code else result.output


def test_infer() -> None:
    table = run("infer", CONFIG, *SMALL, "--dtype", "bfloat16", *THIN)
    names = [row["what"] for row in table["rows"]]
    assert names == [
        "ours",
        "ours bfloat16",
        "floor",
        "floor bfloat16",
        "  backbone",
        "  rpn",
        "  box head",
        "  decode",
        "  preprocess",
    ]
    assert table["rows"][0]["detections"] > 0
    assert table["rows"][0]["times ours"] == 1.0
    assert table["input"] == "1 x 3 x 64 x 96"


def test_export() -> None:
    table = run("export", CONFIG, *SMALL, *THIN)
    rows = {row["what"]: row for row in table["rows"]}
    assert rows["onnxruntime"]["detections"] == rows["ours"]["detections"] > 0


def test_memory() -> None:
    table = run("infer", CONFIG, *SMALL, "--memory", *THIN)
    (ours,) = [row for row in table["rows"] if row["what"] == "ours"]
    # Of a process with torch in it.
    assert 0.1 < ours["peak GiB"] < 3


def test_memory_is_that_of_the_config_with_its_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def in_this_process(command: list[str], **_: Any) -> Any:
        memory.main(command[3:])
        return memory.subprocess.CompletedProcess(command, 0, stdout="1.5")

    def make_step(name: str, mode: str, cfg: Any, *_: Any) -> Any:
        seen.append((name, mode, cfg.MODEL.ROI_HEADS.DETECTIONS_PER_IMG))
        return lambda: 0

    monkeypatch.setattr(memory.subprocess, "run", in_this_process)
    monkeypatch.setattr(memory, "make_step", make_step)
    words = (*THIN, "MODEL.ROI_HEADS.DETECTIONS_PER_IMG", "7")
    result = CliRunner().invoke(app, ["bench", "infer", CONFIG, *SMALL, "--memory", *words])
    assert result.exit_code == 0, result.output
    assert seen == [("ours", "infer", 7)]
    assert '"peak GiB": 1.5' in result.output


@pytest.mark.parametrize("size", [("0", "64"), ("64", "-1")])
def test_sizes_that_are_none(size: tuple[str, str]) -> None:
    for verb in ("infer", "train"):
        text = run(verb, CONFIG, "--size", *size, *THIN, code=2)
        assert "above 0" in text


def test_images_of_four_channels() -> None:
    keys = ("INPUT.CHANNELS", "4", "INPUT.TO_BGR255", "False")
    values = ("INPUT.PIXEL_MEAN", "(0, 0, 0, 0)", "INPUT.PIXEL_STD", "(1, 1, 1, 1)")
    table = run("export", CONFIG, *SMALL, *THIN, *keys, *values)
    rows = {row["what"]: row for row in table["rows"]}
    assert rows["onnxruntime"]["detections"] == rows["ours"]["detections"] > 0


def test_what_is_compiled() -> None:
    both = _variants([Lower.BFLOAT16, Lower.FLOAT32], compiled=True)
    assert both == [
        ("ours", "float32", False),
        ("ours compiled", "float32", True),
        ("ours bfloat16", "bfloat16", False),
        ("ours bfloat16 compiled", "bfloat16", True),
    ]
    assert _variants(None, compiled=False) == [("ours", "float32", False)]


def test_agree(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (64, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(images / "noise.png")
    cfg = make_config()
    network = build_model(cfg)
    weights = tmp_path / "model.safetensors"
    write_model_file(weights, network.state_dict(), cfg, about={}, results={})
    words = ["agree", str(weights), "--images", str(images), "--score-threshold", "0", "--json"]
    table = run(*words)
    assert table["detections"] > 0
    assert table["only in the first"] == table["only in the other"] == 0
    assert [row["worst"] for row in table["rows"]] == [0.0, 0.0, 1.0]
    table = run(*words, "--dtype", "bfloat16")
    assert table["rows"][1]["worst"] > 0


def test_train() -> None:
    table = run("train", CONFIG, *SMALL, "--dtype", "bfloat16", *THIN)
    assert [row["what"] for row in table["rows"]] == ["ours", "ours bfloat16"]


def test_training_has_no_rival_in_onnxruntime() -> None:
    text = run("train", CONFIG, *SMALL, "--against", "onnxruntime", *THIN, code=2)
    assert "does not train" in text


def test_eval() -> None:
    table = run("eval", "--images", "2", "--detections", "5", "--rounds", "1", "--json")
    assert [row["what"] for row in table["rows"]] == ["box AP"]


def test_data(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "one.png")
    table = run("data", CONFIG, "--images", str(tmp_path), "--rounds", "1", "--json", *THIN)
    assert [row["what"] for row in table["rows"]] == ["decode", "preprocess", "batch"]


def test_data_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no image")
    text = run("data", CONFIG, "--images", str(tmp_path), "--rounds", "1", *THIN, code=2)
    assert "bad.jpg" in text
    assert "cannot be read as an image" in text
