"""Old import path of the reader of Detectron's weights, which lives in `checkpoint/`."""

from __future__ import annotations

from maskrcnn_benchmark.utils.old_names import old_names

__getattr__ = old_names(__name__, {"load_c2_format": "maskrcnn_benchmark.build.legacy.weights"})
