"""Checks for keys below MODEL that the chosen variant would pass over in silence.

Only keys that the old project did not have: its own files set some of theirs for nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from maskrcnn_benchmark.config.check import Check, given

if TYPE_CHECKING:
    from maskrcnn_benchmark.config.defaults import Config

_RESNET = re.compile(r"R-\d+-\w+(-RETINANET)?")
# Extractors without norms of their own, and what says which they have.
_WITHOUT_NORM = {
    "ResNet50Conv5ROIFeatureExtractor": "MODEL.RESNETS.NORM",
    "FBNet.roi_head": "MODEL.FBNET.BN_TYPE",
    "FBNet.roi_head_mask": "MODEL.FBNET.BN_TYPE",
}


def _without_heads(config: Config) -> str | None:
    """The key that leaves the box head out, None where there is one."""
    switches = ("MODEL.RETINANET_ON", "MODEL.RPN_ONLY")
    return next(
        (given(config, key) for key in switches if config.MODEL[key.removeprefix("MODEL.")]), None
    )


def _cascade_has_heads(config: Config) -> str | None:
    without = _without_heads(config)
    if not config.MODEL.CASCADE_ON or without is None:
        return None
    return (
        f"{given(config, 'MODEL.CASCADE_ON')}: a cascade is made of box heads, and there are none with "
        f"{without}; set one of the two False"
    )


def _soft_nms_has_heads(config: Config) -> str | None:
    without = _without_heads(config)
    if config.MODEL.ROI_HEADS.NMS_TYPE == "hard" or without is None:
        return None
    return (
        f"{given(config, 'MODEL.ROI_HEADS.NMS_TYPE')} is for box heads, and there are none with {without}; "
        "write MODEL.ROI_HEADS.NMS_TYPE hard"
    )


def _backbone_norm(config: Config) -> str | None:
    keys = config.MODEL.BACKBONE
    own = "MODEL.FBNET.BN_TYPE" if keys.CONV_BODY == "FBNet" else "MODEL.RESNETS.NORM"
    if not keys.NORM or not (own == "MODEL.FBNET.BN_TYPE" or _RESNET.fullmatch(keys.CONV_BODY)):
        return None
    return (
        f"{given(config, 'MODEL.BACKBONE.NORM')} is for bodies of timm and torchvision; for "
        f"{given(config, 'MODEL.BACKBONE.CONV_BODY')} write {own} instead"
    )


def _rpn_convolutions(config: Config) -> str | None:
    keys = config.MODEL.RPN
    if keys.NUM_CONVS == 1 or keys.RPN_HEAD != "FBNet.rpn_head" or config.MODEL.RETINANET_ON:
        return None
    return (
        f"{given(config, 'MODEL.RPN.NUM_CONVS')} is for SingleConvRPNHead, not for "
        f"{given(config, 'MODEL.RPN.RPN_HEAD')}; its blocks follow MODEL.FBNET.RPN_HEAD_BLOCKS"
    )


def _head_norm_check(head: str, *, switch: str = "") -> Check:
    norm_key, extractor_key = f"MODEL.{head}.NORM", f"MODEL.{head}.FEATURE_EXTRACTOR"

    def find(config: Config) -> str | None:
        keys = config.MODEL[head]
        instead = _WITHOUT_NORM.get(keys.FEATURE_EXTRACTOR)
        if not keys.NORM or instead is None or _without_heads(config):
            return None
        if switch and not config.MODEL[switch]:
            return None
        return (
            f"{given(config, norm_key)} has no effect on {given(config, extractor_key)}; write "
            f"{instead} instead"
        )

    return Check((norm_key, extractor_key), find)


VARIANT_CHECKS = (
    Check(("MODEL.CASCADE_ON", "MODEL.RETINANET_ON", "MODEL.RPN_ONLY"), _cascade_has_heads),
    Check(
        ("MODEL.ROI_HEADS.NMS_TYPE", "MODEL.RETINANET_ON", "MODEL.RPN_ONLY"), _soft_nms_has_heads
    ),
    Check(("MODEL.BACKBONE.NORM", "MODEL.BACKBONE.CONV_BODY"), _backbone_norm),
    Check(("MODEL.RPN.NUM_CONVS", "MODEL.RPN.RPN_HEAD"), _rpn_convolutions),
    _head_norm_check("ROI_BOX_HEAD"),
    _head_norm_check("ROI_MASK_HEAD", switch="MASK_ON"),
)
