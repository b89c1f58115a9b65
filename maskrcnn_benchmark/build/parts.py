"""What several parts read from the config in the same way: norms, poolers, the ResNet's numbers."""

from __future__ import annotations

import re
from typing import Any

from maskrcnn_benchmark.build.registered import find_registered, registered_names
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.norms import NormName
from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.backbone import ResNetStages
from maskrcnn_benchmark.modeling.poolers import Pooler
from maskrcnn_benchmark.modeling.roi_heads.box_head import ResNetConv5FeatureExtractor
from maskrcnn_benchmark.numerics import Numerics

CONV_BODY = re.compile(r"R-(18|34|50|101|152)-(C4|C5|FPN-RETINANET|FPN)")
_NORM_SUFFIXES: dict[str, NormName] = {
    "WithFixedBatchNorm": "FrozenBN",
    "WithBatchNorm": "BN",
    "WithSyncBatchNorm": "SyncBN",
    "WithGN": "GN",
}


def has_fpn(cfg: Config) -> bool:
    """Whether the body's name ends in a pyramid."""
    return "-FPN" in cfg.MODEL.BACKBONE.CONV_BODY


def parse_conv_body(cfg: Config) -> tuple[int, str]:
    """Depth and kind (C4, C5, FPN, FPN-RETINANET) of `R-50-FPN` and the like.

    Raises:
        ConfigError: if the body is not a ResNet.
    """
    name = cfg.MODEL.BACKBONE.CONV_BODY
    match = CONV_BODY.fullmatch(name)
    if match is None:
        raise ConfigError(
            "MODEL.BACKBONE.CONV_BODY: expected R-<18|34|50|101|152>-<C4|C5|FPN|FPN-RETINANET>, FBNet, timm/NAME, "
            f"torchvision/NAME or one registered in registry.BACKBONES ({_users_backbones()}), got {name!r}."
        )
    return int(match[1]), match[2]


def _users_backbones() -> str:
    return ", ".join(registered_names(registry.BACKBONES)) or "none so far"


def resnet_arguments(cfg: Config) -> dict[str, Any]:
    """What the body and the C4 head have in common."""
    resnets = cfg.MODEL.RESNETS
    norm = resnet_norm(cfg, "TRANS_FUNC")
    return {
        "width": resnets.WIDTH_PER_GROUP,
        "groups": resnets.NUM_GROUPS,
        "out_channels": resnets.RES2_OUT_CHANNELS,
        "stride_in_1x1": resnets.STRIDE_IN_1X1,
        **norm_arguments(cfg, norm=norm, channels=resnets.RES2_OUT_CHANNELS),
    }


def resnet_norm(cfg: Config, key: str) -> NormName:
    """The norm that TRANS_FUNC or STEM_FUNC names, unless RESNETS.NORM overrides it."""
    resnets = cfg.MODEL.RESNETS
    if resnets.NORM:
        override: NormName = resnets.NORM
        return override
    value = getattr(resnets, key)
    for suffix, norm in _NORM_SUFFIXES.items():
        if value.endswith(suffix):
            return norm
    raise ConfigError(
        f"MODEL.RESNETS.{key}: expected a name that ends with one of {', '.join(_NORM_SUFFIXES)}, got {value!r}."
    )


def head_norm(section: Any) -> NormName:
    """The norm of a part that has the keys NORM and USE_GN."""
    norm: NormName = section.NORM or ("GN" if section.USE_GN else "")
    return norm


def norm_arguments(cfg: Config, *, norm: NormName, channels: int) -> dict[str, Any]:
    """Arguments `norm`, and for GN `norm_groups` and `norm_eps`."""
    if norm != "GN":
        return {"norm": norm}
    group_norm = cfg.MODEL.GROUP_NORM
    if (group_norm.NUM_GROUPS == -1) == (group_norm.DIM_PER_GP == -1):
        raise ConfigError(
            "MODEL.GROUP_NORM: exactly one of NUM_GROUPS and DIM_PER_GP must be -1, got "
            f"{group_norm.NUM_GROUPS} and {group_norm.DIM_PER_GP}."
        )
    groups = group_norm.NUM_GROUPS
    if groups == -1:
        groups = channels // group_norm.DIM_PER_GP
    return {"norm": "GN", "norm_groups": groups, "norm_eps": group_norm.EPSILON}


def build_pooler(head: Any, numerics: Numerics) -> Pooler:
    """The pooler of a head's section."""
    return Pooler(
        output_size=head.POOLER_RESOLUTION,
        scales=head.POOLER_SCALES,
        sampling_ratio=head.POOLER_SAMPLING_RATIO,
        aligned=numerics.roi_align_aligned,
        box_offset=numerics.box_offset,
        kind=head.POOLER_TYPE,
        level_eps=numerics.level_eps,
    )


def build_conv5_extractor(
    cfg: Config, pooler: Pooler, in_channels: int
) -> ResNetConv5FeatureExtractor:
    """Stage 4 of the ResNet as a head on regions (C4)."""
    # Three blocks whatever the body, hence depth 50: stage 4 of ResNet-50, -101 and -152 is the same. Basic blocks for
    # the shallow ones.
    is_users = find_registered(registry.BACKBONES, cfg.MODEL.BACKBONE.CONV_BODY) is not None
    depth = 50 if is_users else parse_conv_body(cfg)[0]
    head = ResNetStages(
        stages=(4,),
        depth=min(depth, 50),
        in_channels=in_channels,
        dilation=cfg.MODEL.RESNETS.RES5_DILATION,
        **resnet_arguments(cfg),
    )
    return ResNetConv5FeatureExtractor(pooler=pooler, head=head)
