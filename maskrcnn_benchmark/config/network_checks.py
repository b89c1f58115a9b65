"""Checks of the keys below MODEL against each other, for the parts that come with the package.

Parts registered by users are left alone: what they need is not known here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from maskrcnn_benchmark.config.check import Check, given

if TYPE_CHECKING:
    from maskrcnn_benchmark.config.defaults import Config

_BODY = re.compile(r"R-\d+-(C4|C5|FPN|FPN-RETINANET)")
_STRIDES = {"C4": (16,), "C5": (32,), "FPN": (4, 8, 16, 32, 64)}
_RETINANET_STRIDES = (8, 16, 32, 64, 128)
_POOLER_SCALES = {"C4": (1 / 16,), "C5": (1 / 32,), "FPN": (1 / 4, 1 / 8, 1 / 16, 1 / 32)}


def _body_kind(config: Config) -> str:
    """Return C4, C5, FPN or FPN-RETINANET, or nothing for bodies that are not ResNets of this package."""
    match = _BODY.fullmatch(config.MODEL.BACKBONE.CONV_BODY)
    return match.group(1) if match else ""


def _anchors_fit_maps(config: Config) -> str | None:
    rpn = config.MODEL.RPN
    if config.MODEL.RETINANET_ON:
        return None
    strides, sizes = len(rpn.ANCHOR_STRIDE), len(rpn.ANCHOR_SIZES)
    both = f"{given(config, 'MODEL.RPN.ANCHOR_STRIDE')}, {given(config, 'MODEL.RPN.ANCHOR_SIZES')}"
    if rpn.USE_FPN and strides != sizes:
        return (
            f"{both}: MODEL.RPN.USE_FPN takes one stride and one size (or tuple of sizes) per "
            f"feature map, got {strides} strides and {sizes} sizes"
        )
    if not rpn.USE_FPN and strides != 1:
        return f"{both}: several strides need MODEL.RPN.USE_FPN True"
    if not rpn.USE_FPN and any(isinstance(size, tuple) for size in rpn.ANCHOR_SIZES):
        return f"{both}: a tuple of sizes per feature map needs MODEL.RPN.USE_FPN True"
    return None


def _strides_fit_body(config: Config) -> str | None:
    kind = _body_kind(config)
    if config.MODEL.RETINANET_ON or kind not in _STRIDES:
        return None
    found, strides = config.MODEL.RPN.ANCHOR_STRIDE, _STRIDES[kind]
    if found == strides:
        return None
    cure = f'MODEL.RPN.USE_FPN {kind == "FPN"} MODEL.RPN.ANCHOR_STRIDE "{strides}"'
    return (
        f"{given(config, 'MODEL.RPN.ANCHOR_STRIDE')} does not fit "
        f"{given(config, 'MODEL.BACKBONE.CONV_BODY')}, whose feature maps have the strides "
        f"{strides}; write {cure}"
    )


def _channels_fit_body(config: Config) -> str | None:
    # Bodies of basic blocks give other widths; their builder knows them.
    match = re.fullmatch(r"R-(?:50|101|152)-(C4|C5)", config.MODEL.BACKBONE.CONV_BODY)
    if not match:
        return None
    channels = config.MODEL.RESNETS.RES2_OUT_CHANNELS * {"C4": 4, "C5": 8}[match.group(1)]
    if channels == config.MODEL.RESNETS.BACKBONE_OUT_CHANNELS:
        return None
    return (
        f"{given(config, 'MODEL.RESNETS.BACKBONE_OUT_CHANNELS')}: "
        f"{given(config, 'MODEL.BACKBONE.CONV_BODY')} with "
        f"{given(config, 'MODEL.RESNETS.RES2_OUT_CHANNELS')} has {channels} output channels"
    )


def _retinanet_fits_body(config: Config) -> str | None:
    kind, on = _body_kind(config), config.MODEL.RETINANET_ON
    if not kind or on == (kind == "FPN-RETINANET"):
        return None
    cure = (
        "take a body R-..-FPN-RETINANET"
        if on
        else "set MODEL.RETINANET_ON True, or take a body without -RETINANET"
    )
    return (
        f"{given(config, 'MODEL.BACKBONE.CONV_BODY')} and {given(config, 'MODEL.RETINANET_ON')} do "
        f"not go together: {cure}"
    )


def _retinanet_anchors(config: Config) -> str | None:
    keys = config.MODEL.RETINANET
    if not config.MODEL.RETINANET_ON:
        return None
    both = (
        f"{given(config, 'MODEL.RETINANET.ANCHOR_STRIDES')}, "
        f"{given(config, 'MODEL.RETINANET.ANCHOR_SIZES')}"
    )
    if len(keys.ANCHOR_STRIDES) != len(keys.ANCHOR_SIZES):
        return f"{both}: expected one size and one stride per feature map"
    if _body_kind(config) and keys.ANCHOR_STRIDES != _RETINANET_STRIDES:
        return f"{both}: the feature maps have the strides {_RETINANET_STRIDES}"
    return None


def _pooler_check(head: str, *, switch: str = "") -> Check:
    scales_key = f"MODEL.{head}.POOLER_SCALES"

    def find(config: Config) -> str | None:
        kind = _body_kind(config)
        if config.MODEL.RPN_ONLY or kind not in _POOLER_SCALES:
            return None
        keys = config.MODEL[head]
        if switch and (not config.MODEL[switch] or keys.SHARE_BOX_FEATURE_EXTRACTOR):
            return None
        found, scales = keys.POOLER_SCALES, _POOLER_SCALES[kind]
        if found == scales[: len(found)]:
            return None
        return (
            f"{given(config, scales_key)} does not fit "
            f"{given(config, 'MODEL.BACKBONE.CONV_BODY')}, whose feature maps have the scales "
            f'{scales}; write {scales_key} "{scales}"'
        )

    return Check((scales_key, "MODEL.BACKBONE.CONV_BODY"), find)


def _mask_resolution(config: Config) -> str | None:
    head = config.MODEL.ROI_MASK_HEAD
    factor = {"MaskRCNNC4Predictor": 2, "MaskRCNNConv1x1Predictor": 1}.get(head.PREDICTOR)
    if not config.MODEL.MASK_ON or config.MODEL.RPN_ONLY or factor is None:
        return None
    source = "ROI_BOX_HEAD" if head.SHARE_BOX_FEATURE_EXTRACTOR else "ROI_MASK_HEAD"
    extractor, side = config.MODEL[source].FEATURE_EXTRACTOR, config.MODEL[source].POOLER_RESOLUTION
    if extractor == "ResNet50Conv5ROIFeatureExtractor":
        # layer4 halves the pooled RoI; with dilation it does not.
        side = side if config.MODEL.RESNETS.RES5_DILATION > 1 else -(-side // 2)
    elif extractor != "MaskRCNNFPNFeatureExtractor":
        return None
    if side * factor == head.RESOLUTION:
        return None
    return (
        f"{given(config, 'MODEL.ROI_MASK_HEAD.RESOLUTION')}: with "
        f"{given(config, f'MODEL.{source}.POOLER_RESOLUTION')} and "
        f"{given(config, 'MODEL.ROI_MASK_HEAD.PREDICTOR')} the masks have {side * factor} cells "
        f"along each side; write MODEL.ROI_MASK_HEAD.RESOLUTION {side * factor}"
    )


def _keypoint_resolution(config: Config) -> str | None:
    head = config.MODEL.ROI_KEYPOINT_HEAD
    known = (head.FEATURE_EXTRACTOR, head.PREDICTOR) == (
        "KeypointRCNNFeatureExtractor",
        "KeypointRCNNPredictor",
    )
    if not config.MODEL.KEYPOINT_ON or not known or head.SHARE_BOX_FEATURE_EXTRACTOR:
        return None
    side = 4 * head.POOLER_RESOLUTION
    if side == head.RESOLUTION:
        return None
    return (
        f"{given(config, 'MODEL.ROI_KEYPOINT_HEAD.RESOLUTION')}: with "
        f"{given(config, 'MODEL.ROI_KEYPOINT_HEAD.POOLER_RESOLUTION')} the heat maps have {side} "
        f"cells along each side; write MODEL.ROI_KEYPOINT_HEAD.RESOLUTION {side}"
    )


def _threshold_check(section: str) -> Check:
    low, high = f"MODEL.{section}.BG_IOU_THRESHOLD", f"MODEL.{section}.FG_IOU_THRESHOLD"

    def find(config: Config) -> str | None:
        keys = config.MODEL[section]
        if keys.BG_IOU_THRESHOLD <= keys.FG_IOU_THRESHOLD:
            return None
        return (
            f"{given(config, low)} is above {given(config, high)}: expected background below "
            "objects"
        )

    return Check((low, high), find)


def _group_norm(config: Config) -> str | None:
    keys = config.MODEL.GROUP_NORM
    if (keys.DIM_PER_GP > 0) != (keys.NUM_GROUPS > 0):
        return None
    return (
        f"{given(config, 'MODEL.GROUP_NORM.DIM_PER_GP')} and "
        f"{given(config, 'MODEL.GROUP_NORM.NUM_GROUPS')}: expected one of the two to be -1 and the "
        "other above 0"
    )


NETWORK_CHECKS = (
    Check(
        ("MODEL.RPN.USE_FPN", "MODEL.RPN.ANCHOR_STRIDE", "MODEL.RPN.ANCHOR_SIZES"),
        _anchors_fit_maps,
    ),
    Check(("MODEL.BACKBONE.CONV_BODY", "MODEL.RPN.ANCHOR_STRIDE"), _strides_fit_body),
    Check(
        (
            "MODEL.BACKBONE.CONV_BODY",
            "MODEL.RESNETS.BACKBONE_OUT_CHANNELS",
            "MODEL.RESNETS.RES2_OUT_CHANNELS",
        ),
        _channels_fit_body,
    ),
    Check(("MODEL.BACKBONE.CONV_BODY", "MODEL.RETINANET_ON"), _retinanet_fits_body),
    Check(
        ("MODEL.RETINANET.ANCHOR_STRIDES", "MODEL.RETINANET.ANCHOR_SIZES", "MODEL.RETINANET_ON"),
        _retinanet_anchors,
    ),
    _pooler_check("ROI_BOX_HEAD"),
    _pooler_check("ROI_MASK_HEAD", switch="MASK_ON"),
    _pooler_check("ROI_KEYPOINT_HEAD", switch="KEYPOINT_ON"),
    Check(
        ("MODEL.ROI_MASK_HEAD.RESOLUTION", "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION"),
        _mask_resolution,
    ),
    Check(
        ("MODEL.ROI_KEYPOINT_HEAD.RESOLUTION", "MODEL.ROI_KEYPOINT_HEAD.POOLER_RESOLUTION"),
        _keypoint_resolution,
    ),
    _threshold_check("RPN"),
    _threshold_check("ROI_HEADS"),
    _threshold_check("RETINANET"),
    Check(("MODEL.GROUP_NORM.DIM_PER_GP", "MODEL.GROUP_NORM.NUM_GROUPS"), _group_norm),
)
