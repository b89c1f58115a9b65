"""Config -> the parts of an FBNet: body, proposal head, features of regions."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.layers.norms import make_norm
from maskrcnn_benchmark.modeling.backbone import Backbone
from maskrcnn_benchmark.modeling.backbone.fbnet import FBNet
from maskrcnn_benchmark.modeling.backbone.fbnet_archs import FBNetArch, get_arch, parse_arch
from maskrcnn_benchmark.modeling.backbone.fbnet_blocks import FBNetStyle
from maskrcnn_benchmark.modeling.backbone.resnet_blocks import NormFactory
from maskrcnn_benchmark.modeling.poolers import Pooler
from maskrcnn_benchmark.modeling.roi_heads.fbnet_head import FBNetFeatureExtractor, select_blocks
from maskrcnn_benchmark.modeling.rpn.fbnet_head import FBNetRPNHead

# Head of the detector: its name in the tables, and the prefix of its config keys.
FBNetHead = Literal["bbox", "mask", "kpts"]
_KEYS: dict[FBNetHead, str] = {"bbox": "DET_HEAD", "mask": "MASK_HEAD", "kpts": "KPTS_HEAD"}


def build_fbnet_backbone(cfg: Config) -> Backbone:
    """The body of MODEL.FBNET.ARCH; it gives one map. FREEZE_CONV_BODY_AT is not for it, as in the old project."""
    body = FBNet(arch=_arch(cfg), style=_style(cfg), in_channels=cfg.INPUT.CHANNELS)
    return Backbone(body=body, out_channels=body.out_channels, strides=(body.stride,))


def build_fbnet_rpn_head(cfg: Config, *, in_channels: int, num_anchors: int) -> FBNetRPNHead:
    """The proposal head `FBNet.rpn_head`."""
    keys = cfg.MODEL.FBNET
    specs = _arch(cfg).blocks("rpn")
    if keys.RPN_HEAD_BLOCKS > 0:
        specs = specs[-keys.RPN_HEAD_BLOCKS :]
    return FBNetRPNHead(
        in_channels=in_channels,
        num_anchors=num_anchors,
        specs=specs,
        style=_style(cfg, norm=keys.RPN_BN_TYPE),
    )


def build_fbnet_extractor(
    cfg: Config, head: FBNetHead, *, pooler: Pooler, in_channels: int
) -> FBNetFeatureExtractor:
    """`FBNet.roi_head` (bbox), `FBNet.roi_head_mask` (mask) or `FBNet.roi_head_keypoints` (kpts)."""
    keys, prefix = cfg.MODEL.FBNET, _KEYS[head]
    arch = _arch(cfg)
    return FBNetFeatureExtractor(
        pooler=pooler,
        in_channels=in_channels,
        specs=select_blocks(
            arch.blocks(head),
            indices=keys[f"{prefix}_BLOCKS"],
            stride=keys[f"{prefix}_STRIDE"],
        ),
        style=_style(cfg),
        last_channels=arch.last_channels,
        last_scale=keys[f"{prefix}_LAST_SCALE"],
    )


def _arch(cfg: Config) -> FBNetArch:
    keys = cfg.MODEL.FBNET
    return parse_arch(keys.ARCH_DEF) if keys.ARCH_DEF else get_arch(keys.ARCH)


def _style(cfg: Config, *, norm: str = "") -> FBNetStyle:
    keys = cfg.MODEL.FBNET
    return FBNetStyle(
        scale=keys.SCALE_FACTOR,
        divisor=keys.WIDTH_DIVISOR,
        norm=_norm_factory(cfg, norm or keys.BN_TYPE),
        depthwise_norm=not keys.DW_CONV_SKIP_BN,
        depthwise_relu=not keys.DW_CONV_SKIP_RELU,
    )


def _norm_factory(cfg: Config, name: str) -> NormFactory:
    if name != "gn":
        kind: Literal["BN", "FrozenBN"] = "BN" if name == "bn" else "FrozenBN"
        return lambda channels: make_norm(kind, channels)
    keys = cfg.MODEL.GROUP_NORM

    def group_norm(channels: int) -> nn.Module:
        # The widths of the tables are no multiples of 32: as many of the groups as divide them.
        if keys.NUM_GROUPS > 0:
            groups = math.gcd(channels, keys.NUM_GROUPS)
        else:
            groups = channels // math.gcd(channels, keys.DIM_PER_GP)
        return make_norm("GN", channels, num_groups=groups, eps=keys.EPSILON)

    return group_norm
