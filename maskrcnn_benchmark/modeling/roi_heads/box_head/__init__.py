"""Class and box of each region."""

from maskrcnn_benchmark.modeling.roi_heads.box_head.box_head import BoxHead
from maskrcnn_benchmark.modeling.roi_heads.box_head.feature_extractors import (
    FPN2MLPFeatureExtractor,
    FPNXconv1fcFeatureExtractor,
    ResNetConv5FeatureExtractor,
)
from maskrcnn_benchmark.modeling.roi_heads.box_head.predictors import BoxPredictor

__all__ = [
    "BoxHead",
    "BoxPredictor",
    "FPN2MLPFeatureExtractor",
    "FPNXconv1fcFeatureExtractor",
    "ResNetConv5FeatureExtractor",
]
