"""Shipped configs with few channels, and models of them with random weights everywhere."""

import torch

from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.config import get_defaults

THIN = [
    *("MODEL.RESNETS.STEM_OUT_CHANNELS", 4, "MODEL.RESNETS.RES2_OUT_CHANNELS", 8),
    *("MODEL.RESNETS.WIDTH_PER_GROUP", 2, "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM", 8),
    *("MODEL.GROUP_NORM.NUM_GROUPS", 2, "MODEL.ROI_BOX_HEAD.CONV_HEAD_DIM", 8),
    *("MODEL.ROI_MASK_HEAD.CONV_LAYERS", (8, 8, 8, 8)),
    *("MODEL.ROI_KEYPOINT_HEAD.CONV_LAYERS", (8,) * 8),
]


def config_of(repository, name):
    """The config with few channels."""
    cfg = get_defaults()
    cfg.merge_from_file(repository / "configs" / f"{name}.yaml")
    cfg.merge_from_list([*THIN, "MODEL.RESNETS.BACKBONE_OUT_CHANNELS", 8 if "FPN" in name else 32])
    return cfg


def model_of(cfg, seed):
    """Every weight random, so that one in the wrong place is seen."""
    torch.manual_seed(seed)
    model = build_model(cfg)
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if key.endswith(("weight", "bias")):
                value.normal_()
    return model
