"""Old import path of the builder of feature extractors, which lives in `build/`."""

from __future__ import annotations

from maskrcnn_benchmark.utils.old_names import old_names

__getattr__ = old_names(
    __name__, {"make_roi_box_feature_extractor": "maskrcnn_benchmark.build.legacy.box_head"}
)
