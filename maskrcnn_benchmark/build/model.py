"""Config -> network. One function for each part, so that key -> argument is one search away.

Backbones are in `build.backbones`, the proposal network in `build.proposals`, heads in `build.*_head`,
RetinaNet in `build.retinanet`.
"""

from __future__ import annotations

import torch

from maskrcnn_benchmark.build.backbones import build_backbone
from maskrcnn_benchmark.build.parts import has_fpn
from maskrcnn_benchmark.build.proposals import build_rpn
from maskrcnn_benchmark.build.registered import find_registered
from maskrcnn_benchmark.build.retinanet import build_retinanet
from maskrcnn_benchmark.build.roi_heads import build_roi_heads
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.backbone import Backbone
from maskrcnn_benchmark.modeling.detector.detector import Detector
from maskrcnn_benchmark.modeling.detector.generalized_rcnn import GeneralizedRCNN
from maskrcnn_benchmark.numerics import Numerics, get_numerics


def build_model(cfg: Config) -> Detector:
    """The detector that the config describes, in channels-last memory format, on the CPU, with initial weights.

    Raises:
        ConfigError: for names of parts that do not exist, or parts that do not fit; the message names the key.
    """
    if cfg.MODEL.META_ARCHITECTURE != "GeneralizedRCNN":
        raise ConfigError(
            f"MODEL.META_ARCHITECTURE: expected 'GeneralizedRCNN', got {cfg.MODEL.META_ARCHITECTURE!r}."
        )
    numerics = get_numerics(cfg.MODEL.NUMERICS)
    backbone = build_backbone(cfg)
    build = build_retinanet if cfg.MODEL.RETINANET_ON else build_generalized_rcnn
    model: Detector = build(cfg, backbone=backbone, numerics=numerics)
    if cfg.MODEL.RETINANET_ON or not cfg.MODEL.RPN_ONLY:
        head = cfg.MODEL.RETINANET if cfg.MODEL.RETINANET_ON else cfg.MODEL.ROI_BOX_HEAD
        model.num_classes = head.NUM_CLASSES
    # The convolutions of a CPU, and of a GPU's tensor cores, work on channels that lie side by side.
    return model.to(memory_format=torch.channels_last)


def build_generalized_rcnn(
    cfg: Config, *, backbone: Backbone, numerics: Numerics
) -> GeneralizedRCNN:
    """The two-stage detector, or with RPN_ONLY the proposal network, behind a backbone."""
    return GeneralizedRCNN(
        backbone=backbone,
        rpn=build_rpn(
            cfg, in_channels=backbone.out_channels, numerics=numerics, strides=backbone.strides
        ),
        roi_heads=None
        if cfg.MODEL.RPN_ONLY
        else build_roi_heads(
            cfg,
            in_channels=backbone.out_channels,
            numerics=numerics,
            # Those of a user's backbone are what the anchors say.
            strides=None
            if find_registered(registry.BACKBONES, cfg.MODEL.BACKBONE.CONV_BODY)
            else backbone.strides,
        ),
        size_divisible=max(cfg.DATALOADER.SIZE_DIVISIBILITY, 32 if has_fpn(cfg) else 0),
    )
