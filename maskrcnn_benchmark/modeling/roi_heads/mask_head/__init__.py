"""Mask of each detection."""

from maskrcnn_benchmark.modeling.roi_heads.mask_head.mask_head import (
    MaskFeatureExtractor,
    MaskHead,
    MaskPredictor,
)

__all__ = ["MaskFeatureExtractor", "MaskHead", "MaskPredictor"]
