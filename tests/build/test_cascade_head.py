"""CASCADE_ON: one stage for each threshold, and what does not fit is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling.roi_heads.cascade_head import CascadeHead

THIN = [
    "MODEL.RESNETS.WIDTH_PER_GROUP", 2,
    "MODEL.RESNETS.STEM_OUT_CHANNELS", 4,
    "MODEL.RESNETS.RES2_OUT_CHANNELS", 8,
    "MODEL.RESNETS.BACKBONE_OUT_CHANNELS", 16,
    "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM", 12,
    "MODEL.ROI_BOX_HEAD.NUM_CLASSES", 5,
]  # fmt: skip


def build(repository: Path, *overrides: Any) -> Any:
    cfg = get_defaults()
    cfg.merge_from_file(str(repository / "configs/cascade/cascade_mask_rcnn_R_50_FPN_1x.yaml"))
    cfg.merge_from_list([*THIN, *overrides])
    with torch.device("meta"):
        return build_model(cfg)


def test_every_key_arrives(repository: Path) -> None:
    box = build(
        repository,
        "MODEL.ROI_CASCADE.FG_IOU_THRESHOLDS", (0.45, 0.65),
        "MODEL.ROI_CASCADE.BBOX_REG_WEIGHTS", ((8, 8, 4, 4), (16, 16, 8, 8)),
        "MODEL.ROI_BOX_HEAD.LOSS_TYPE", "ciou",
        "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA", 0.25,
        "MODEL.ROI_HEADS.NMS_TYPE", "soft_linear",
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 77,
        "MODEL.NUMERICS", "detectron2",
    ).roi_heads.box  # fmt: skip
    assert isinstance(box, CascadeHead)
    assert [stage.fg_iou_threshold for stage in box.stages] == [0.45, 0.65]
    assert [stage.delta_weights for stage in box.stages] == [(8, 8, 4, 4), (16, 16, 8, 8)]
    assert (box.sampler.fg_iou_threshold, box.sampler.bg_iou_threshold) == (0.45, 0.45)
    assert box.sampler.batch_size_per_image == 77
    assert (box.loss, box.beta, box.box_offset) == ("ciou", 0.25, 0.0)
    assert box.post_processor.delta_weights == (16, 16, 8, 8)
    assert box.post_processor.class_agnostic
    assert box.post_processor.nms == "soft_linear"


def test_names_of_the_weights(repository: Path) -> None:
    names = [name for name in build(repository).state_dict() if name.startswith("roi_heads.box.")]
    assert names == [
        f"roi_heads.box.stages.{stage}.{layer}.{part}"
        for stage in range(3)
        for layer in (
            "feature_extractor.fc6",
            "feature_extractor.fc7",
            "predictor.cls_score",
            "predictor.bbox_pred",
        )
        for part in ("weight", "bias")
    ]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("MODEL.CLS_AGNOSTIC_BBOX_REG", False, r"Set MODEL\.CLS_AGNOSTIC_BBOX_REG True"),
        ("MODEL.ROI_CASCADE.FG_IOU_THRESHOLDS", (0.5, 0.6), "got 3 and 2"),
    ],
)
def test_what_does_not_fit(repository: Path, key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(repository, key, value)
