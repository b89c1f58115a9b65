"""Config -> the heads on regions: box, mask, keypoints."""

from __future__ import annotations

from collections.abc import Sequence

from maskrcnn_benchmark.build.box_head import build_box_head
from maskrcnn_benchmark.build.cascade_head import build_cascade_head
from maskrcnn_benchmark.build.keypoint_head import build_keypoint_head
from maskrcnn_benchmark.build.mask_head import build_mask_head
from maskrcnn_benchmark.build.registered import find_registered
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.roi_heads.box_head import BoxHead
from maskrcnn_benchmark.modeling.roi_heads.cascade_head import CascadeHead
from maskrcnn_benchmark.modeling.roi_heads.roi_heads import ROIHeads
from maskrcnn_benchmark.numerics import Numerics

# Scales are written with few digits, such as 0.0333.
_SCALE_TOLERANCE = 0.01
# Regions are pooled from P2 to P5.
_USUAL_MAPS = 4


def build_roi_heads(
    cfg: Config, *, in_channels: int, numerics: Numerics, strides: Sequence[int] | None = None
) -> ROIHeads:
    """Box head, or with CASCADE_ON several; with MASK_ON mask head, with KEYPOINT_ON keypoint head.

    Args:
        cfg: the config.
        in_channels: of each map.
        numerics: conventions.
        strides: of the backbone's maps, to check the poolers against; None if they are not known.

    Raises:
        ConfigError: if a head pools from maps that the backbone does not give, or parts do not fit.
    """
    model = cfg.MODEL
    if strides is not None:
        _check_pooler_scales(cfg, strides)
    build_box = build_cascade_head if model.CASCADE_ON else build_box_head
    box: BoxHead | CascadeHead = build_box(cfg, in_channels=in_channels, numerics=numerics)
    mask = keypoint = None
    if model.MASK_ON:
        mask = build_mask_head(cfg, in_channels=in_channels, numerics=numerics, box=box)
    if model.KEYPOINT_ON:
        keypoint = build_keypoint_head(cfg, in_channels=in_channels, numerics=numerics, box=box)
    return ROIHeads(
        box=box,
        mask=mask,
        keypoint=keypoint,
        share_box_features=model.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR,
        share_box_features_with_keypoints=model.ROI_KEYPOINT_HEAD.SHARE_BOX_FEATURE_EXTRACTOR,
    )


def _check_pooler_scales(cfg: Config, strides: Sequence[int]) -> None:
    """Refuse scales that are not those of the backbone's first maps; a user's own extractor may mean others."""
    model = cfg.MODEL
    heads = [("ROI_BOX_HEAD", registry.ROI_BOX_FEATURE_EXTRACTORS)]
    if model.MASK_ON and not model.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR:
        heads.append(("ROI_MASK_HEAD", registry.ROI_MASK_FEATURE_EXTRACTORS))
    if model.KEYPOINT_ON and not model.ROI_KEYPOINT_HEAD.SHARE_BOX_FEATURE_EXTRACTOR:
        heads.append(("ROI_KEYPOINT_HEAD", registry.ROI_KEYPOINT_FEATURE_EXTRACTORS))
    for name, extractors in heads:
        scales = model[name].POOLER_SCALES
        fits = len(scales) <= len(strides) and all(
            abs(scale * stride - 1) < _SCALE_TOLERANCE
            for scale, stride in zip(scales, strides, strict=False)
        )
        if fits or find_registered(extractors, model[name].FEATURE_EXTRACTOR):
            continue
        raise ConfigError(
            f"MODEL.{name}.POOLER_SCALES: {model.BACKBONE.CONV_BODY} gives {len(strides)} maps with the strides "
            f"{tuple(strides)}, but the config says {tuple(scales)}, one scale (1 / stride) for each map from the "
            f"first on. Use {tuple(1 / stride for stride in strides[:_USUAL_MAPS])}."
        )
