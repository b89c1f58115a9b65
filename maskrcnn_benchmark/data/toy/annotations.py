"""What a toy picture shows, as COCO annotations.

An object seen whole gets the corners it was drawn from, unless it has a hole; one that is partly
hidden or cut off gets polygons traced from its visible pixels; where something shows through a hole,
or for a crowd, run lengths. Area and box are those of the pixels the annotation decodes to.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from maskrcnn_benchmark.data.toy.pixel_masks import Mask, signed_area, trace_loops
from maskrcnn_benchmark.data.toy.scene import CLASS_NAMES, ToyObject

CATEGORIES = [
    {"id": number, "name": name, "supercategory": "toy"}
    for number, name in enumerate(CLASS_NAMES, start=1)
]


def annotate(found: ToyObject, *, image_id: int, annotation_id: int) -> dict[str, Any]:
    """Make the COCO annotation of one object or crowd."""
    height, width = found.visible.shape
    segmentation = _segmentation_of(found)
    decoded = decode_segmentation(segmentation, height=height, width=width)
    rows, columns = np.flatnonzero(decoded.any(axis=1)), np.flatnonzero(decoded.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": found.label,
        "segmentation": segmentation,
        "area": int(decoded.sum()),
        "bbox": [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y],
        "iscrowd": int(found.is_crowd),
    }


def decode_segmentation(
    segmentation: list[list[float]] | dict[str, Any], *, height: int, width: int
) -> Mask:
    """Fill a COCO segmentation with pycocotools, (height, width)."""
    runs = coco_mask.frPyObjects(segmentation, height, width)
    decoded = coco_mask.decode(coco_mask.merge(runs) if isinstance(runs, list) else runs)
    mask: Mask = decoded.astype(np.bool_)
    return mask


def _segmentation_of(found: ToyObject) -> list[list[float]] | dict[str, Any]:
    outline = found.outline
    if outline is None:
        return _run_lengths(found.visible)
    if found.is_whole and not outline.holes:
        return [part.round(2).reshape(-1).tolist() for part in outline.parts]
    loops = trace_loops(found.visible)
    if any(signed_area(loop) < 0 for loop in loops):
        return _run_lengths(found.visible)
    return [loop.reshape(-1).tolist() for loop in loops]


def _run_lengths(mask: Mask) -> dict[str, Any]:
    """Uncompressed run lengths, column by column, beginning with how many pixels are outside."""
    flat = mask.reshape(-1, order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    counts = np.diff(edges).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}
