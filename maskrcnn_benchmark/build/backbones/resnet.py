"""Config -> ResNet or ResNeXt, with a pyramid if the name says so."""

from __future__ import annotations

from collections.abc import Sequence
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
from maskrcnn_benchmark.modeling.backbone import (
    FPN,
    Backbone,
    LastLevelMaxPool,
    LastLevelP6P7,
    ResNet,
)

_STAGES = {
    "C4": (1, 2, 3),
    "C5": (1, 2, 3, 4),
    "FPN": (1, 2, 3, 4),
    "FPN-RETINANET": (1, 2, 3, 4),
}


def build_resnet_backbone(cfg: Config) -> Backbone:
    """ResNet body, with a pyramid if the name says so."""
    _, kind = parse_conv_body(cfg)
    arguments = body_arguments(cfg)
    body = ResNet(**arguments)
    channels = [body.out_channels[stage] for stage in arguments["return_stages"]]
    if kind in ("C4", "C5"):
        check_channels(cfg, channels[-1])
        return Backbone(body=body, out_channels=channels[-1], strides=(16 if kind == "C4" else 32,))
    for_retinanet = kind == "FPN-RETINANET"
    return Backbone(
        body=body,
        fpn=build_pyramid(cfg, in_channels=channels, for_retinanet=for_retinanet),
        out_channels=cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS,
        strides=(8, 16, 32, 64, 128) if for_retinanet else (4, 8, 16, 32, 64),
    )


def body_arguments(cfg: Config) -> dict[str, Any]:
    """All arguments of `ResNet`; also those of its old form `ResNet(cfg)`."""
    depth, kind = parse_conv_body(cfg)
    stages = _STAGES[kind]
    return {
        "depth": depth,
        "stages": stages,
        "stem_channels": cfg.MODEL.RESNETS.STEM_OUT_CHANNELS,
        "stem_norm": resnet_norm(cfg, "STEM_FUNC"),
        "return_stages": {"FPN": stages, "FPN-RETINANET": stages[1:]}.get(kind, stages[-1:]),
        "freeze_at": max(cfg.MODEL.BACKBONE.FREEZE_CONV_BODY_AT, 0),
        "in_channels": cfg.INPUT.CHANNELS,
        "with_dcn": cfg.MODEL.RESNETS.STAGE_WITH_DCN,
        "modulated": cfg.MODEL.RESNETS.WITH_MODULATED_DCN,
        "deformable_groups": cfg.MODEL.RESNETS.DEFORMABLE_GROUPS,
        **resnet_arguments(cfg),
    }


def build_pyramid(cfg: Config, *, in_channels: Sequence[int], for_retinanet: bool) -> FPN:
    """P2 to P6, or for RetinaNet P3 to P7, from maps of a body with `in_channels`, finest first."""
    out_channels = cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS
    top: LastLevelMaxPool | LastLevelP6P7 = LastLevelMaxPool()
    if for_retinanet:
        use_c5 = cfg.MODEL.RETINANET.USE_C5
        top = LastLevelP6P7(
            in_channels=in_channels[-1] if use_c5 else out_channels,
            out_channels=out_channels,
            use_c5=use_c5,
        )
    return FPN(
        in_channels=in_channels,
        out_channels=out_channels,
        first_level=2 if for_retinanet else 1,
        top_block=top,
        **fpn_arguments(cfg),
    )


def fpn_arguments(cfg: Config) -> dict[str, Any]:
    """What every pyramid reads from MODEL.FPN."""
    fpn = cfg.MODEL.FPN
    channels = cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS
    return {
        "use_relu": fpn.USE_RELU,
        **norm_arguments(cfg, norm=head_norm(fpn), channels=channels),
    }


def check_channels(cfg: Config, channels: int) -> None:
    """Raise ConfigError if BACKBONE_OUT_CHANNELS is not what the body gives."""
    declared = cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS
    if declared != channels:
        raise ConfigError(
            f"MODEL.RESNETS.BACKBONE_OUT_CHANNELS: {cfg.MODEL.BACKBONE.CONV_BODY} gives {channels} channels, "
            f"the config says {declared}. Set it to {channels}."
        )
