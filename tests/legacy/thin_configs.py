"""Thin configs of the old names, and what goes through their parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList, to_image_list
from maskrcnn_benchmark.structures.keypoint import PersonKeypoints
from tests.thin_models import make_images, make_target

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

_BODY = {
    "MODEL.DEVICE": "cpu",
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 16,
    "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 16,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 24,
    "MODEL.ROI_HEADS.SCORE_THRESH": 0.0,
    "MODEL.ROI_HEADS.DETECTIONS_PER_IMG": 10,
    "MODEL.ROI_BOX_HEAD.NUM_CLASSES": 4,
    "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM": 24,
}
_FPN = {
    "MODEL.RPN.ANCHOR_SIZES": (8, 16, 32, 64, 128),
    "MODEL.RPN.FPN_POST_NMS_TOP_N_TRAIN": 60,
    "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST": 30,
}
FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "faster": ("e2e_faster_rcnn_R_50_FPN_1x.yaml", _FPN),
    "mask": ("e2e_mask_rcnn_R_50_FPN_1x.yaml", {**_FPN, "MODEL.ROI_MASK_HEAD.CONV_LAYERS": (8, 8)}),
    "c4": (
        "e2e_mask_rcnn_R_50_C4_1x.yaml",
        {
            "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 64,
            "MODEL.RPN.POST_NMS_TOP_N_TRAIN": 40,
            "MODEL.RPN.POST_NMS_TOP_N_TEST": 20,
        },
    ),
    "keypoint": (
        "e2e_keypoint_rcnn_R_50_FPN_1x.yaml",
        {**_FPN, "MODEL.ROI_KEYPOINT_HEAD.CONV_LAYERS": (8, 8)},
    ),
    "cascade": (
        "e2e_faster_rcnn_R_50_FPN_1x.yaml",
        {**_FPN, "MODEL.CASCADE_ON": True, "MODEL.CLS_AGNOSTIC_BBOX_REG": True},
    ),
    "rpn": ("rpn_R_50_FPN_1x.yaml", _FPN),
    "retinanet": ("retinanet/retinanet_R-50-FPN_1x.yaml", {"MODEL.RETINANET.NUM_CLASSES": 4}),
}


def thin_config(name: str, **changes: Any) -> Config:
    file, own = FILES[name]
    cfg = get_defaults()
    cfg.merge_from_file(CONFIGS / file)
    settings = {**_BODY, **own, **changes}
    cfg.merge_from_list([word for pair in settings.items() for word in pair])
    return cfg


def batch() -> tuple[ImageList, list[BoxList]]:
    """Two images of different sizes, padded to 32, and their targets with masks and keypoints."""
    images = to_image_list(make_images((64, 96), (96, 80)), 32)
    targets = [make_target(64, 96, count=3), make_target(96, 80, count=1, seed=1)]
    for target in targets:
        centre = (target.bbox[:, None, :2] + target.bbox[:, None, 2:]) / 2
        points = torch.cat((centre.expand(-1, 17, 2), torch.full((len(target), 17, 1), 2.0)), dim=2)
        target.add_field("keypoints", PersonKeypoints(points, target.size))
    return images, targets


def maps(cfg: Config, images: ImageList, *, strides: tuple[int, ...] = ()) -> list[Tensor]:
    """Random maps as the config's backbone would give them."""
    torch.manual_seed(5)
    height, width = images.tensors.shape[-2:]
    channels = cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS
    return [
        torch.randn(len(images), channels, -(-height // s), -(-width // s))
        for s in strides or cfg.MODEL.RPN.ANCHOR_STRIDE
    ]
