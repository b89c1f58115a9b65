"""Targets for networks with continuous boxes (width = x2 - x1), out of data sets with inclusive ones.

A `BoxList` of a data set has inclusive corners: pixels x1 to x2, the last included. In continuous coordinates these
pixels cover x1 to x2 + 1. Outlines are continuous in either case. Keypoints name pixels; detectron2 takes them for the
pixels' centres and adds a half, others leave them.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import torch

from maskrcnn_benchmark.layers.boxes import LEGACY_OFFSET
from maskrcnn_benchmark.structures.bounding_box import FLIP_LEFT_RIGHT, BoxList
from maskrcnn_benchmark.structures.polygons import PolygonList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask


class ToContinuous:
    """Moves the far corners of boxes to the far edges of their last pixels; before any other change of geometry."""

    def __init__(self, *, keypoint_offset: float = 0.0) -> None:
        """Set what is added to x and y of keypoints."""
        self.keypoint_offset = keypoint_offset

    def __call__(self, image: Any, target: BoxList | None = None) -> Any:
        """Change the boxes; the image stays."""
        if target is None:
            return image, None
        inclusive = target.convert("xyxy")
        result = inclusive.copy_with_fields(inclusive.fields())
        far = inclusive.bbox.new_tensor([0.0, 0.0, LEGACY_OFFSET, LEGACY_OFFSET])
        result.bbox = inclusive.bbox + far
        if self.keypoint_offset and result.has_field("keypoints"):
            keypoints = copy(result.get_field("keypoints"))
            both = keypoints.keypoints.new_tensor([self.keypoint_offset] * 2 + [0.0])
            keypoints.keypoints = keypoints.keypoints + both
            result.add_field("keypoints", keypoints)
        return image, result

    def __repr__(self) -> str:
        offset = f"keypoint_offset={self.keypoint_offset}" if self.keypoint_offset else ""
        return f"{type(self).__name__}({offset})"


def mirror_continuous(target: BoxList, method: int, *, keypoint_offset: float = 0.0) -> BoxList:
    """Boxes and fields after the image was mirrored, x to width - x for boxes and outlines.

    Args:
        target: with continuous boxes.
        method: FLIP_LEFT_RIGHT or FLIP_TOP_BOTTOM.
        keypoint_offset: that of `ToContinuous`.
    """
    # BoxList mirrors pixels: x to width - 1 - x. That suits bitmaps and keypoints.
    flipped = target.transpose(method)
    axis = 0 if method == FLIP_LEFT_RIGHT else 1
    corners = flipped.convert("xyxy")
    result = corners.copy_with_fields(corners.fields())
    result.bbox = corners.bbox.clone()
    result.bbox[:, axis::2] += LEGACY_OFFSET
    if keypoint_offset and result.has_field("keypoints"):
        points = result.get_field("keypoints").keypoints
        points[..., axis] += torch.where(points[..., 2] > 0, 2 * keypoint_offset, 0.0)
    masks = result.get_field("masks") if result.has_field("masks") else None
    if isinstance(masks, SegmentationMask) and isinstance(masks.instances, PolygonList):
        for instance in masks.instances.polygons:
            for outline in instance.polygons:
                # A copy of its own, made by the mirror.
                outline[axis::2] += LEGACY_OFFSET
    return result
