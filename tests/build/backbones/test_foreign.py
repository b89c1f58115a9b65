from __future__ import annotations

from pathlib import Path

import pytest
import torch

from maskrcnn_benchmark.build.backbones import build_backbone
from maskrcnn_benchmark.build.backbones.foreign import is_foreign
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.norms import FrozenBatchNorm2d


@pytest.fixture
def cfg(repository: Path) -> Config:
    cfg = get_defaults()
    cfg.merge_from_file(repository / "configs/mobilenet/mask_rcnn_mobilenet_v2_FPN.yaml")
    return cfg


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("torchvision/resnet50", True),
        ("timm/convnext_tiny.fb_in1k-FPN", True),
        ("torchvision/mobilenet_v2-FPN-RETINANET", True),
        ("R-50-FPN", False),
        ("keras/resnet50", False),
    ],
)
def test_names(name: str, expected: bool) -> None:
    assert is_foreign(name) is expected


def test_the_shipped_config(cfg: Config) -> None:
    model = build_model(cfg)
    body = model.backbone.get_submodule("body")
    assert any(isinstance(module, FrozenBatchNorm2d) for module in body.modules())
    assert not body.get_parameter("features.3.conv.0.0.weight").requires_grad
    assert body.get_parameter("features.4.conv.0.0.weight").requires_grad
    found = model.eval()([torch.rand(3, 90, 130)])
    assert found[0].has_field("mask")


@pytest.mark.parametrize("norm", ["", "BN", "SyncBN", "GN"])
def test_norms(cfg: Config, norm: str) -> None:
    cfg.merge_from_list(["MODEL.BACKBONE.NORM", norm])
    kinds = {type(module).__name__ for module in build_backbone(cfg).body.modules()}
    expected = {"GN": "GroupNorm", "SyncBN": "SyncBatchNorm"}.get(norm, "BatchNorm2d")
    assert expected in kinds


def test_a_pyramid_for_retinanet(cfg: Config) -> None:
    cfg.merge_from_list(["MODEL.BACKBONE.CONV_BODY", "torchvision/mobilenet_v2-FPN-RETINANET"])
    backbone = build_backbone(cfg)
    assert backbone.strides == (8, 16, 32, 64, 128)
    maps = backbone(torch.rand(1, 3, 128, 256))
    assert [tuple(each.shape[2:]) for each in maps] == [(16, 32), (8, 16), (4, 8), (2, 4), (1, 2)]


def test_the_coarsest_map_alone(cfg: Config) -> None:
    cfg.merge_from_list(["MODEL.BACKBONE.CONV_BODY", "torchvision/mobilenet_v2"])
    with pytest.raises(ConfigError, match="gives 1280 channels, the config says 64"):
        build_backbone(cfg)
    cfg.merge_from_list(["MODEL.RESNETS.BACKBONE_OUT_CHANNELS", 1280])
    backbone = build_backbone(cfg)
    assert backbone.strides == (32,)
    assert backbone(torch.rand(1, 3, 64, 64))[0].shape == (1, 1280, 2, 2)


def test_groups_must_be_given_by_number(cfg: Config) -> None:
    cfg.merge_from_list(["MODEL.BACKBONE.NORM", "GN"])
    cfg.merge_from_list(["MODEL.GROUP_NORM.NUM_GROUPS", -1, "MODEL.GROUP_NORM.DIM_PER_GP", 8])
    with pytest.raises(ConfigError, match=r"MODEL\.GROUP_NORM\.NUM_GROUPS"):
        build_backbone(cfg)


def test_timm(cfg: Config) -> None:
    pytest.importorskip("timm")
    cfg.merge_from_list(["MODEL.BACKBONE.CONV_BODY", "timm/convnext_atto-FPN"])
    model = build_model(cfg).eval()
    assert "backbone.body.stages.0.blocks.0.conv_dw.weight" in model.state_dict()
    model([torch.rand(3, 90, 130)])
