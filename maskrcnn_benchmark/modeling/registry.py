"""Parts by name, for those who add their own: a class registered here can be named in a config.

`registry.BACKBONES.register("my-net")` decorates what takes a `cfg`; the other registries hold what takes
`(cfg, in_channels)`, RPN heads what takes `(cfg, in_channels, num_anchors)`.
"""

from __future__ import annotations

from maskrcnn_benchmark.utils.registry import Registry

BACKBONES = Registry()
RPN_HEADS = Registry()
ROI_BOX_FEATURE_EXTRACTORS = Registry()
ROI_BOX_PREDICTOR = Registry()
ROI_KEYPOINT_FEATURE_EXTRACTORS = Registry()
ROI_KEYPOINT_PREDICTOR = Registry()
ROI_MASK_FEATURE_EXTRACTORS = Registry()
ROI_MASK_PREDICTOR = Registry()
