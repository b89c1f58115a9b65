from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image
from typer.testing import CliRunner

from maskrcnn_benchmark.cli import app
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
    assert names == ["ours", "ours bfloat16", "floor", "  backbone", "  rpn", "  box head"]
    assert table["rows"][0]["detections"] > 0
    assert table["rows"][0]["times ours"] == 1.0
    assert table["input"] == "1 x 3 x 64 x 96"


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
