"""Config -> the heads on regions: box, mask, keypoints."""

from __future__ import annotations

from maskrcnn_benchmark.build.box_head import build_box_head
from maskrcnn_benchmark.build.mask_head import build_mask_head
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.modeling.roi_heads.roi_heads import ROIHeads
from maskrcnn_benchmark.numerics import Numerics


def build_roi_heads(cfg: Config, *, in_channels: int, numerics: Numerics) -> ROIHeads:
    """Box head and, with MASK_ON, mask head."""
    box = build_box_head(cfg, in_channels=in_channels, numerics=numerics)
    if not cfg.MODEL.MASK_ON:
        return ROIHeads(box=box)
    shares = cfg.MODEL.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR
    mask = build_mask_head(cfg, in_channels=in_channels, numerics=numerics, box=box)
    return ROIHeads(box=box, mask=mask, share_box_features=shares)
