"""Detections with masks that are hard on formats: parts, holes, overlaps, the edge of the image."""

from __future__ import annotations

import numpy as np
import pytest

from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.masks import box_around, encode_mask
from maskrcnn_benchmark.structures.sizes import HeightWidth

CLASS_NAMES = ("__background__", "cat", 'a "dog", perhaps', "Süßes")


@pytest.fixture
def drawn() -> Detections:
    """Four objects in 60 x 80 pixels; boxes are those of the masks."""
    masks = np.zeros((4, 60, 80), dtype=bool)
    y, x = np.mgrid[:60, :80]
    masks[0] = (x - 25) ** 2 + (y - 25) ** 2 < 200
    masks[0] &= (x - 25) ** 2 + (y - 25) ** 2 > 30  # a hole
    masks[1, 40:60, 60:80] = True  # in the corner
    masks[1, 40:45, 60:65] = False
    masks[2, 5:10, 50:60] = masks[2, 20:24, 52:70] = True  # two parts
    masks[3, 20:30, 20:44] = True  # over the first
    rles = [encode_mask(mask) for mask in masks]
    boxes = np.array([box_around(rle) for rle in rles], dtype=np.float32)
    boxes[:, 2:] += boxes[:, :2] - 1
    return Detections(
        image_size=HeightWidth(60, 80),
        boxes=boxes,
        scores=np.array([0.5, 0.875, 0.25, 0.0625]),
        labels=np.array([2, 1, 3, 1]),
        class_names=CLASS_NAMES,
        masks=rles,
        image_id=3,
        path="a.jpg",
    )


@pytest.fixture
def boxes_only(drawn: Detections) -> Detections:
    """The same without masks, at fractions of a pixel."""
    boxes = drawn.boxes + np.array([0.25, -0.125, 0.5, 0.375], dtype=np.float32)
    return Detections(
        image_size=drawn.image_size,
        boxes=boxes,
        scores=drawn.scores,
        labels=drawn.labels,
        class_names=drawn.class_names,
        image_id=3,
        path="a.jpg",
    )
