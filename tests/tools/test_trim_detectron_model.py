"""The old tool: its flags, what it prints, what it writes."""

import subprocess
import sys

import numpy as np
import torch

from maskrcnn_benchmark.config.paths_catalog import ModelCatalog
from tests.checkpoint.detectron_files import write_as_python2

LAYERS = ("cls_score", "bbox_pred", "mask_fcn_logits")
BLOBS = {f"{name}_{ending}": np.ones(3, "f4") for name in LAYERS for ending in "wb"}
KEPT = {"conv1_w": np.ones((4, 3, 7, 7), "f4"), "rpn_bbox_pred_fpn2_w": np.ones(3, "f4")}
MODEL = "Caffe2Detectron/COCO/35858933/e2e_mask_rcnn_R-50-FPN_1x"


def trim(repository, *words, **settings):
    tool = repository / "tools" / "trim_detectron_model.py"
    return subprocess.run(
        [sys.executable, tool, *words], capture_output=True, text=True, check=False, **settings
    )


def test_layers_of_classes_are_removed(tmp_path, repository):
    write_as_python2(tmp_path / "a.pkl", {"blobs": BLOBS | KEPT})
    target = tmp_path / "new" / "a.pth"
    result = trim(repository, "--pretrained_path", tmp_path / "a.pkl", "--save_path", target)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert "key: roi_heads.box.predictor.cls_score.weight is removed" in lines
    assert "key: roi_heads.mask.predictor.mask_fcn_logits.bias is removed" in lines
    assert lines[-1] == f"saved to {target}."
    data = torch.load(target, weights_only=True)
    assert list(data) == ["model"]
    assert set(data["model"]) == {*("backbone.body.stem.conv1.weight", "rpn.head.bbox_pred.weight")}


def test_without_flags_it_takes_the_cached_mask_rcnn(tmp_path, repository, monkeypatch):
    monkeypatch.setenv("TORCH_MODEL_ZOO", str(tmp_path))
    address = ModelCatalog.get(MODEL)
    name = address.split("fbaipublicfiles.com")[1].replace("%3A", ":").replace("/", "_")
    write_as_python2(tmp_path / name, {"blobs": BLOBS | KEPT})
    result = trim(repository, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "pretrained_model"
    assert (folder / "mask_rcnn_R-50-FPN_1x_detectron_no_last_layers.pth").is_file()
