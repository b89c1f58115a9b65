"""Config -> a network of torchvision or timm: `torchvision/NAME` and `timm/NAME`, each with or without `-FPN`."""

from __future__ import annotations

import re
from typing import Any

from maskrcnn_benchmark.build.backbones.resnet import build_pyramid, check_channels
from maskrcnn_benchmark.build.parts import norm_arguments
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling.backbone import Backbone
from maskrcnn_benchmark.modeling.backbone.foreign import TorchvisionBody, make_timm_body

_NAME = re.compile(r"(torchvision|timm)/(.+?)(-FPN-RETINANET|-FPN)?")
# Strides of the maps of the body that a pyramid is built on.
_PYRAMIDS = {"-FPN": (4, 8, 16, 32), "-FPN-RETINANET": (8, 16, 32)}


def is_foreign(name: str) -> bool:
    """Whether CONV_BODY names a network of another library."""
    return _NAME.fullmatch(name) is not None


def build_foreign_backbone(cfg: Config) -> Backbone:
    """The body, and a pyramid if the name says so; without one, the coarsest map alone.

    Raises:
        ConfigError: if there is no such network, or it lacks maps that the pyramid needs.
        MissingExtraError: if timm is not installed.
    """
    name = cfg.MODEL.BACKBONE.CONV_BODY
    match = _NAME.fullmatch(name)
    if match is None:
        raise ConfigError(
            f"MODEL.BACKBONE.CONV_BODY: expected torchvision/NAME or timm/NAME, perhaps with -FPN, got {name!r}."
        )
    library, network, pyramid = match.groups()
    make: Any = TorchvisionBody if library == "torchvision" else make_timm_body
    group_norm = cfg.MODEL.GROUP_NORM
    if cfg.MODEL.BACKBONE.NORM == "GN" and group_norm.NUM_GROUPS == -1:
        raise ConfigError(
            f"MODEL.GROUP_NORM.NUM_GROUPS: the norms of {name} have different numbers of channels; give the number "
            "of groups rather than DIM_PER_GP."
        )
    body = make(
        network,
        strides=_PYRAMIDS.get(pyramid),
        in_channels=cfg.INPUT.CHANNELS,
        freeze_at=max(cfg.MODEL.BACKBONE.FREEZE_CONV_BODY_AT, 0),
        **norm_arguments(cfg, norm=cfg.MODEL.BACKBONE.NORM, channels=0),
    )
    if pyramid is None:
        channels = body.out_channels[body.strides[-1]]
        check_channels(cfg, channels)
        return Backbone(body=body, out_channels=channels, strides=body.strides)
    return _add_pyramid(cfg, body, for_retinanet=pyramid.endswith("RETINANET"))


def _add_pyramid(cfg: Config, body: Any, *, for_retinanet: bool) -> Backbone:
    channels = [body.out_channels[stride] for stride in body.strides]
    return Backbone(
        body=body,
        fpn=build_pyramid(cfg, in_channels=channels, for_retinanet=for_retinanet),
        out_channels=cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS,
        strides=(*body.strides, 64, 128) if for_retinanet else (*body.strides, 64),
    )
