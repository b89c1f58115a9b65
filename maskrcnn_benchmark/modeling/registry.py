"""Parts by name, for those who add their own: what is registered here can be named in a config.

    @registry.ROI_BOX_FEATURE_EXTRACTORS.register("MyExtractor")
    class MyExtractor(nn.Module):
        def __init__(self, cfg, in_channels): ...

Backbones take `(cfg)`, RPN heads `(cfg, in_channels, num_anchors)`, all others `(cfg, in_channels)`. The parts of this
package are entries too: `registry.BACKBONES["R-50-FPN"](cfg)` builds one.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from maskrcnn_benchmark.utils.registry import Registry


@dataclass(frozen=True)
class BuiltIn:
    """A part of this package as an entry of a registry; called as the old part was.

    Attributes:
        key: of the config, that names such parts.
        name: of this part.
    """

    key: str
    name: str

    def __call__(self, cfg: Any, *sizes: int) -> Any:
        """Build the part for a config and, where it takes them, `in_channels` and `num_anchors`."""
        # Loaded on first use: nothing in `modeling` depends on what lies above it.
        named = importlib.import_module("maskrcnn_benchmark.build.legacy.named")
        return named.build_named(self.key, self.name, cfg, *sizes)


def _registry(key: str, *names: str) -> Registry:
    registry = Registry()
    for name in names:
        registry.register(name, BuiltIn(key, name))
    return registry


BACKBONES = _registry(
    "BACKBONE.CONV_BODY",
    "R-50-C4",
    "R-50-C5",
    "R-101-C4",
    "R-101-C5",
    "R-50-FPN",
    "R-101-FPN",
    "R-152-FPN",
    "R-50-FPN-RETINANET",
    "R-101-FPN-RETINANET",
    "FBNet",
)
RPN_HEADS = _registry("RPN.RPN_HEAD", "SingleConvRPNHead", "FBNet.rpn_head")
ROI_BOX_FEATURE_EXTRACTORS = _registry(
    "ROI_BOX_HEAD.FEATURE_EXTRACTOR",
    "ResNet50Conv5ROIFeatureExtractor",
    "FPN2MLPFeatureExtractor",
    "FPNXconv1fcFeatureExtractor",
    "FBNet.roi_head",
)
ROI_BOX_PREDICTOR = _registry("ROI_BOX_HEAD.PREDICTOR", "FastRCNNPredictor", "FPNPredictor")
ROI_MASK_FEATURE_EXTRACTORS = _registry(
    "ROI_MASK_HEAD.FEATURE_EXTRACTOR",
    "ResNet50Conv5ROIFeatureExtractor",
    "MaskRCNNFPNFeatureExtractor",
    "FBNet.roi_head_mask",
)
ROI_MASK_PREDICTOR = _registry(
    "ROI_MASK_HEAD.PREDICTOR", "MaskRCNNC4Predictor", "MaskRCNNConv1x1Predictor"
)
ROI_KEYPOINT_FEATURE_EXTRACTORS = _registry(
    "ROI_KEYPOINT_HEAD.FEATURE_EXTRACTOR",
    "KeypointRCNNFeatureExtractor",
    "FBNet.roi_head_keypoints",
)
ROI_KEYPOINT_PREDICTOR = _registry("ROI_KEYPOINT_HEAD.PREDICTOR", "KeypointRCNNPredictor")
