"""Overlaps between the objects of an image and what was found in it, in whole pixels.

G: objects, P: predictions of one image.    H, W: its height and width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.masks import decode_mask
from maskrcnn_benchmark.structures.bounding_box import BoxList

IntArray = NDArray[np.int64]
Masks = Sequence[NDArray[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class ImageMatches:
    """What scoring needs to know of an image.

    Attributes:
        target_labels: (G,).
        target_areas: (G,) in pixels.
        labels: (P,) of the predictions.
        scores: (P,).
        areas: (P,) in pixels.
        intersections: (G, P) in pixels; 0 where the boxes do not overlap.
    """

    target_labels: IntArray
    target_areas: IntArray
    labels: IntArray
    scores: NDArray[np.float64]
    areas: IntArray
    intersections: IntArray

    @property
    def overlaps(self) -> NDArray[np.float64]:
        """(G, P) intersection over union; 0 where there is neither."""
        union = self.target_areas[:, None] + self.areas[None] - self.intersections
        overlaps: NDArray[np.float64] = self.intersections / np.maximum(union, 1)
        return overlaps


def match_boxes(targets: BoxList, found: Detections) -> ImageMatches:
    """Compare boxes, their corners cut to whole numbers; width = x2 - x1.

    Args:
        targets: with `labels`, in pixels of the original image.
        found: likewise.
    """
    own, theirs = _whole_boxes(targets, found)
    return ImageMatches(
        **_about(targets, found),
        target_areas=_box_areas(own),
        areas=_box_areas(theirs),
        intersections=_box_intersections(own, theirs),
    )


def match_masks(targets: BoxList, found: Detections) -> ImageMatches:
    """Compare masks, as far as they lie in their boxes (whose last row and column do not count).

    Args:
        targets: with `labels` and `masks`, in pixels of the original image.
        found: with masks, likewise.
    """
    own, theirs = _whole_boxes(targets, found)
    own_masks = [
        mask.bool().numpy() for mask in targets.get_field("masks").convert("mask").as_masks()
    ]
    masks = [decode_mask(rle) for rle in found.masks or []]
    intersections = np.zeros((len(own), len(theirs)), dtype=np.int64)
    for row, column in np.argwhere(_box_intersections(own, theirs) > 0):
        corners = np.concatenate(
            (
                np.minimum(own[row, :2], theirs[column, :2]),
                np.maximum(own[row, 2:], theirs[column, 2:]),
            )
        )
        common = _cut(own_masks[row], corners) & _cut(masks[column], corners)
        intersections[row, column] = common.sum()
    return ImageMatches(
        **_about(targets, found),
        target_areas=_mask_areas(own_masks, own),
        areas=_mask_areas(masks, theirs),
        intersections=intersections,
    )


def _about(targets: BoxList, found: Detections) -> dict[str, Any]:
    return {
        "target_labels": targets.get_field("labels").numpy().astype(np.int64),
        "labels": found.labels,
        "scores": found.scores.astype(np.float64),
    }


def _whole_boxes(targets: BoxList, found: Detections) -> Iterator[IntArray]:
    for boxes in (targets.convert("xyxy").bbox.numpy(), found.boxes):
        yield boxes.astype(np.int64)


def _box_areas(boxes: IntArray) -> IntArray:
    areas: IntArray = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


def _box_intersections(own: IntArray, theirs: IntArray) -> IntArray:
    """(G, P) common area; 0 where boxes only touch."""
    low = np.maximum(own[:, None, :2], theirs[None, :, :2])
    high = np.minimum(own[:, None, 2:], theirs[None, :, 2:])
    areas: IntArray = np.maximum(high - low, 0).prod(axis=2)
    return areas


def _mask_areas(masks: Masks, boxes: IntArray) -> IntArray:
    areas = [_cut(mask, box).sum() for mask, box in zip(masks, boxes, strict=True)]
    return np.array(areas, dtype=np.int64)


def _cut(mask: NDArray[np.bool_], corners: IntArray) -> NDArray[np.bool_]:
    """The part of a mask (H, W) in a box, without the box's last row and column."""
    x1, y1, x2, y2 = np.maximum(corners, 0).tolist()
    return mask[y1:y2, x1:x2]
