"""Config -> ResNet or ResNeXt, with a pyramid if the name says so."""

from __future__ import annotations

from typing import Any

from maskrcnn_benchmark.build.parts import (
    head_norm,
    norm_arguments,
    parse_conv_body,
    resnet_arguments,
    resnet_norm,
)
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling.backbone import FPN, Backbone, LastLevelMaxPool, ResNet

_STAGES = {
    "C4": (1, 2, 3),
    "C5": (1, 2, 3, 4),
    "FPN": (1, 2, 3, 4),
    "FPN-RETINANET": (1, 2, 3, 4),
}


def build_resnet_backbone(cfg: Config) -> Backbone:
    """ResNet body, with a pyramid if the name says so."""
    depth, kind = parse_conv_body(cfg)
    stages = _STAGES[kind]
    returned = {"FPN": stages, "FPN-RETINANET": stages[1:]}.get(kind, stages[-1:])
    body = ResNet(
        depth=depth,
        stages=stages,
        stem_channels=cfg.MODEL.RESNETS.STEM_OUT_CHANNELS,
        stem_norm=resnet_norm(cfg, "STEM_FUNC"),
        return_stages=returned,
        freeze_at=max(cfg.MODEL.BACKBONE.FREEZE_CONV_BODY_AT, 0),
        **resnet_arguments(cfg),
    )
    channels = [body.out_channels[stage] for stage in returned]
    if kind in ("C4", "C5"):
        _check_channels(cfg, channels[-1])
        return Backbone(body=body, out_channels=channels[-1], strides=(16 if kind == "C4" else 32,))
    if kind == "FPN-RETINANET":
        raise ConfigError("MODEL.RETINANET_ON: being built.")
    out_channels = cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS
    fpn = FPN(
        in_channels=channels,
        out_channels=out_channels,
        top_block=LastLevelMaxPool(),
        **fpn_arguments(cfg),
    )
    return Backbone(body=body, fpn=fpn, out_channels=out_channels, strides=(4, 8, 16, 32, 64))


def fpn_arguments(cfg: Config) -> dict[str, Any]:
    """What every pyramid reads from MODEL.FPN."""
    fpn = cfg.MODEL.FPN
    channels = cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS
    return {
        "use_relu": fpn.USE_RELU,
        **norm_arguments(cfg, norm=head_norm(fpn), channels=channels),
    }


def _check_channels(cfg: Config, channels: int) -> None:
    declared = cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS
    if declared != channels:
        raise ConfigError(
            f"MODEL.RESNETS.BACKBONE_OUT_CHANNELS: {cfg.MODEL.BACKBONE.CONV_BODY} gives {channels} channels, "
            f"the config says {declared}. Set it to {channels}."
        )
