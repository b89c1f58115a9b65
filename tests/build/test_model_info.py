"""Parameters, layers and arithmetic of a network's parts, against sums by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from maskrcnn_benchmark.build.config_files import find_config
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.build.model_info import PartInfo, describe_parts
from maskrcnn_benchmark.config import Config, get_defaults

THIN: dict[str, Any] = {
    "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 32,
    "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 16,
    "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM": 32,
    "MODEL.ROI_MASK_HEAD.CONV_LAYERS": (16, 16),
    "MODEL.ROI_HEADS.DETECTIONS_PER_IMG": 7,
    "MODEL.ROI_BOX_HEAD.NUM_CLASSES": 4,
    "INPUT.MIN_SIZE_TEST": 96,
    "INPUT.MAX_SIZE_TEST": 128,
}


@pytest.fixture(scope="module")
def cfg() -> Config:
    cfg = get_defaults()
    cfg.merge_from_file(find_config("e2e_mask_rcnn_R_50_FPN_1x"))
    cfg.merge_from_list([word for pair in THIN.items() for word in pair])
    return cfg


@pytest.fixture(scope="module")
def parts(cfg: Config) -> dict[str, PartInfo]:
    return {part.name: part for part in describe_parts(cfg)}


def test_the_parts_add_up(cfg: Config, parts: dict[str, PartInfo]) -> None:
    assert list(parts) == [
        "backbone.body",
        "backbone.fpn",
        "rpn",
        "roi_heads.box",
        "roi_heads.mask",
        "all",
    ]
    *single, whole = parts.values()
    for field in ("parameters", "trainable", "layers", "flops"):
        assert sum(getattr(part, field) for part in single) == getattr(whole, field)
    model = build_model(cfg)
    assert whole.trainable == sum(p.numel() for p in model.parameters() if p.requires_grad)
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    assert whole.layers == sum(isinstance(module, kinds) for module in model.modules())


def test_parameters_are_those_of_the_same_network_elsewhere() -> None:
    """Frozen norms count with scale and shift, without statistics; anchors do not count."""
    cfg = get_defaults()
    cfg.merge_from_file(find_config("e2e_mask_rcnn_R_50_FPN_1x"))
    cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES = 91
    with torch.device("meta"):
        other = torchvision.models.detection.maskrcnn_resnet50_fpn(
            weights=None, weights_backbone=None
        )
    *_, whole = describe_parts(cfg, count_flops=False)
    assert whole.parameters == sum(p.numel() for p in other.parameters())


def test_flops_of_the_rpn_are_those_of_its_convolutions(parts: dict[str, PartInfo]) -> None:
    # 96 x 128 pixels, strides 4 to 64 (the last by rounding up).
    cells = sum((96 // s) * (128 // s) for s in (4, 8, 16, 32)) + 2 * 2
    per_cell = 16 * 16 * 9 + 16 * 3 + 16 * 12
    assert parts["rpn"].flops == 2 * cells * per_cell


def test_the_mask_head_is_counted_for_every_detection(parts: dict[str, PartInfo]) -> None:
    cells = 14 * 14
    convs = 2 * 16 * 16 * 9 * cells
    up = 16 * 16 * 4 * cells
    logits = 16 * (28 * 28)
    assert parts["roi_heads.mask"].flops == 2 * 7 * (convs + up + logits)


def test_without_flops_nothing_is_run(cfg: Config) -> None:
    assert all(part.flops == 0 for part in describe_parts(cfg, count_flops=False))
