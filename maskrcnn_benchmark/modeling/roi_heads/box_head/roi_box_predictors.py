"""Old import path of the builder of box predictors, which lives in `build/`."""

from __future__ import annotations

from maskrcnn_benchmark.utils.old_names import old_names

__getattr__ = old_names(
    __name__, {"make_roi_box_predictor": "maskrcnn_benchmark.build.legacy.box_head"}
)
