"""Weights of other programs: one module for each, found by the names in the file."""

from __future__ import annotations

from typing import cast

from maskrcnn_benchmark.checkpoint.dialects import (
    caffe2,
    detectron2,
    mmdet,
    native,
    tensorpack,
    timm,
    torchvision,
)
from maskrcnn_benchmark.checkpoint.dialects.base import Dialect, Shapes

__all__ = ["DIALECTS", "NAMES", "UNKNOWN", "find_dialect"]

# In the order in which they are asked: torchvision shares names of its RPN with this package, timm those of ResNets
# with torchvision (timm is asked for those without classifier).
DIALECTS: tuple[Dialect, ...] = tuple(
    cast("Dialect", module)
    for module in (detectron2, timm, torchvision, native, caffe2, mmdet, tensorpack)
)

# Short name -> what messages call it.
NAMES = {
    "native": "this package",
    "legacy": "maskrcnn-benchmark",
    "caffe2": "Detectron (Caffe2)",
    "detectron2": "detectron2",
    "torchvision": "torchvision",
    "tensorpack": "tensorpack",
    "mmdet": "mmdetection",
    "timm": "timm",
}

# Short name where none of them knows the names in a file.
UNKNOWN = "unknown"


def find_dialect(names: Shapes) -> Dialect | None:
    """The dialect of a file with these names and shapes, None where none knows them."""
    return next((dialect for dialect in DIALECTS if dialect.recognise(names)), None)
