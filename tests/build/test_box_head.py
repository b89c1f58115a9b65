"""Config -> box head: the numerics and the keys beyond the old project's arrive."""

from __future__ import annotations

from typing import Any

import torch

from maskrcnn_benchmark.build.box_head import build_box_head
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.numerics import get_numerics

THIN = ["MODEL.RESNETS.WIDTH_PER_GROUP", 2, "MODEL.RESNETS.RES2_OUT_CHANNELS", 8]


def build(*overrides: Any, numerics: str = "detectron") -> Any:
    cfg = get_defaults()
    cfg.merge_from_list([*THIN, "MODEL.RESNETS.BACKBONE_OUT_CHANNELS", 32, *overrides])
    with torch.device("meta"):
        return build_box_head(cfg, in_channels=32, numerics=get_numerics(numerics))


def test_the_old_projects() -> None:
    head = build()
    assert (head.loss, head.beta, head.box_offset) == ("smooth_l1", 1.0, 1.0)
    processor = head.post_processor
    assert (processor.nms, processor.min_size, processor.drop_empty) == ("hard", 0.0, False)
    assert processor.nms_inclusive


def test_those_of_others() -> None:
    head = build(numerics="detectron2")
    assert (head.box_offset, head.sampler.box_offset) == (0.0, 0.0)
    processor = head.post_processor
    assert (processor.box_offset, processor.nms_inclusive, processor.drop_empty) == (
        0.0,
        False,
        True,
    )
    assert build(numerics="torchvision").post_processor.min_size == 0.01


def test_keys() -> None:
    head = build(
        "MODEL.ROI_BOX_HEAD.LOSS_TYPE", "giou",
        "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA", 0.5,
        "MODEL.ROI_HEADS.NMS_TYPE", "soft_gaussian",
        "MODEL.ROI_HEADS.SOFT_NMS_SIGMA", 0.3,
        "MODEL.CLS_AGNOSTIC_BBOX_REG", True,
    )  # fmt: skip
    assert (head.loss, head.beta) == ("giou", 0.5)
    assert head.class_agnostic
    processor = head.post_processor
    assert (processor.nms, processor.soft_nms_sigma) == ("soft_gaussian", 0.3)
    assert processor.class_agnostic
    assert head.predictor.bbox_pred.out_features == 8
