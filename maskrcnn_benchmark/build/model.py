"""Config -> network. One function for each part, so that key -> argument is one search away.

Backbones are in `build.backbones`, the proposal network in `build.proposals`, heads in `build.*_head`.
"""

from __future__ import annotations

import torch

from maskrcnn_benchmark.build.backbones import build_backbone
from maskrcnn_benchmark.build.parts import has_fpn
from maskrcnn_benchmark.build.proposals import build_rpn
from maskrcnn_benchmark.build.roi_heads import build_roi_heads
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling.detector.generalized_rcnn import GeneralizedRCNN
from maskrcnn_benchmark.numerics import get_numerics


def build_model(cfg: Config) -> GeneralizedRCNN:
    """The detector that the config describes, in channels-last memory format, on the CPU, with initial weights.

    Raises:
        ConfigError: for names of parts that do not exist, or parts that do not fit; the message names the key.
    """
    if cfg.MODEL.META_ARCHITECTURE != "GeneralizedRCNN":
        raise ConfigError(
            f"MODEL.META_ARCHITECTURE: expected 'GeneralizedRCNN', got {cfg.MODEL.META_ARCHITECTURE!r}."
        )
    for key, name in (("RETINANET_ON", "RetinaNet"), ("KEYPOINT_ON", "Keypoint R-CNN")):
        if getattr(cfg.MODEL, key):
            raise ConfigError(
                f"MODEL.{key}: {name} is not in this version. Set it to False, or use a Faster or Mask R-CNN config."
            )
    numerics = get_numerics(cfg.MODEL.NUMERICS)
    backbone = build_backbone(cfg)
    model = GeneralizedRCNN(
        backbone=backbone,
        rpn=build_rpn(
            cfg, in_channels=backbone.out_channels, numerics=numerics, strides=backbone.strides
        ),
        roi_heads=None
        if cfg.MODEL.RPN_ONLY
        else build_roi_heads(cfg, in_channels=backbone.out_channels, numerics=numerics),
        size_divisible=max(cfg.DATALOADER.SIZE_DIVISIBILITY, 32 if has_fpn(cfg) else 0),
    )
    # The convolutions of a CPU, and of a GPU's tensor cores, work on channels that lie side by side.
    return model.to(memory_format=torch.channels_last)
