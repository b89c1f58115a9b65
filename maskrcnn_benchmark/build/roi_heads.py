"""Config -> the heads on regions: box, mask, keypoints."""

from __future__ import annotations

from maskrcnn_benchmark.build.box_head import build_box_head
from maskrcnn_benchmark.build.cascade_head import build_cascade_head
from maskrcnn_benchmark.build.keypoint_head import build_keypoint_head
from maskrcnn_benchmark.build.mask_head import build_mask_head
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.modeling.roi_heads.box_head import BoxHead
from maskrcnn_benchmark.modeling.roi_heads.cascade_head import CascadeHead
from maskrcnn_benchmark.modeling.roi_heads.roi_heads import ROIHeads
from maskrcnn_benchmark.numerics import Numerics


def build_roi_heads(cfg: Config, *, in_channels: int, numerics: Numerics) -> ROIHeads:
    """Box head, or with CASCADE_ON several; with MASK_ON mask head, with KEYPOINT_ON keypoint head."""
    model = cfg.MODEL
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
