"""This package's parts by their registered names, built as the old ones were: `build_named(key, name, cfg, ...)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from maskrcnn_benchmark.build.backbones import build_backbone
from maskrcnn_benchmark.build.keypoint_head import (
    build_keypoint_extractor,
    build_keypoint_predictor,
)
from maskrcnn_benchmark.build.legacy.box_head import (
    make_pooler,
    make_roi_box_feature_extractor,
    make_roi_box_predictor,
    with_boxlists,
)
from maskrcnn_benchmark.build.mask_head import build_mask_extractor, build_mask_predictor
from maskrcnn_benchmark.build.proposals import build_rpn_head
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.numerics import get_numerics


def build_named(key: str, name: str, cfg: Config, *sizes: int) -> nn.Module:
    """Build a part of this package.

    Args:
        key: below MODEL, that names such parts, for example "BACKBONE.CONV_BODY".
        name: of the part; the config itself may name another one.
        cfg: read for everything else.
        sizes: what the old part took beside the config: in_channels, num_anchors.
    """
    section, _, last = key.partition(".")
    if cfg.MODEL[section][last] != name:
        cfg = cfg.clone()
        cfg.defrost()
        cfg.MODEL[section][last] = name
    part: nn.Module = _BUILDERS[key](cfg, *sizes)
    return part


def _rpn_head(cfg: Config, in_channels: int, num_anchors: int) -> nn.Module:
    return build_rpn_head(cfg, in_channels=in_channels, num_anchors=num_anchors)


def _mask_extractor(cfg: Config, in_channels: int) -> nn.Module:
    return with_boxlists(build_mask_extractor(cfg, make_pooler(cfg, "ROI_MASK_HEAD"), in_channels))


def _mask_predictor(cfg: Config, in_channels: int) -> nn.Module:
    return build_mask_predictor(cfg, in_channels=in_channels)


def _keypoint_extractor(cfg: Config, in_channels: int) -> nn.Module:
    numerics = get_numerics(cfg.MODEL.NUMERICS)
    return with_boxlists(build_keypoint_extractor(cfg, in_channels=in_channels, numerics=numerics))


def _keypoint_predictor(cfg: Config, in_channels: int) -> nn.Module:
    return build_keypoint_predictor(cfg, in_channels=in_channels)


_BUILDERS: dict[str, Callable[..., Any]] = {
    "BACKBONE.CONV_BODY": build_backbone,
    "RPN.RPN_HEAD": _rpn_head,
    "ROI_BOX_HEAD.FEATURE_EXTRACTOR": make_roi_box_feature_extractor,
    "ROI_BOX_HEAD.PREDICTOR": make_roi_box_predictor,
    "ROI_MASK_HEAD.FEATURE_EXTRACTOR": _mask_extractor,
    "ROI_MASK_HEAD.PREDICTOR": _mask_predictor,
    "ROI_KEYPOINT_HEAD.FEATURE_EXTRACTOR": _keypoint_extractor,
    "ROI_KEYPOINT_HEAD.PREDICTOR": _keypoint_predictor,
}
