"""Keypoints of each detection."""

from maskrcnn_benchmark.modeling.roi_heads.keypoint_head.keypoint_head import (
    KeypointFeatureExtractor,
    KeypointHead,
    KeypointPredictor,
)

__all__ = ["KeypointFeatureExtractor", "KeypointHead", "KeypointPredictor"]
