import torch
from typer.testing import CliRunner

from maskrcnn_benchmark.cli import app

STATE = {
    "backbone.body.stem.conv1.weight": torch.ones(2, 3, 7, 7),
    "rpn.head.conv.weight": torch.ones(2, 2, 3, 3),
    "rpn.head.bbox_pred.weight": torch.ones(4, 2, 1, 1),
    "roi_heads.box.predictor.cls_score.weight": torch.ones(3, 2),
}


def run(*words):
    return CliRunner().invoke(app, ["convert", *map(str, words)])


def test_class_layers_are_left_out_and_named(tmp_path):
    torch.save({"model": STATE, "optimizer": {}, "iteration": 5}, tmp_path / "old.pth")
    result = run("--drop-heads", tmp_path / "old.pth", tmp_path / "new.pth")
    assert result.exit_code == 0, result.output
    assert "Read weights of maskrcnn-benchmark." in result.output
    assert "left out: roi_heads.box.predictor.cls_score.weight" in result.output
    assert f"Wrote 3 weights to {tmp_path / 'new.pth'}." in result.output
    data = torch.load(tmp_path / "new.pth", weights_only=True)
    assert list(data["model"]) == list(STATE)[:3]
    assert "optimizer" not in data
    assert data["numerics"] == "detectron"


def test_errors_are_readable(tmp_path):
    result = run(tmp_path / "none.pth", tmp_path / "new.pth")
    assert result.exit_code == 1
    assert "there is no checkpoint at" in result.stderr
    result = run(tmp_path / "none.pth", tmp_path / "new.onnx")
    assert result.exit_code == 2
    assert "ends in .safetensors or .pth" in result.stderr
    result = run("--drop-head", tmp_path / "none.pth", tmp_path / "new.pth")
    assert result.exit_code == 2
    assert "Did you mean --drop-heads?" in result.stderr
