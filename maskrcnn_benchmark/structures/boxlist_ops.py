"""Operations on whole BoxLists: suppression, overlap, size filter, concatenation.

N, M: boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.layers.boxes import LEGACY_OFFSET, box_iou, is_at_least
from maskrcnn_benchmark.layers.nms import nms
from maskrcnn_benchmark.structures.bounding_box import BoxList


def boxlist_nms(
    boxlist: BoxList, nms_thresh: float, max_proposals: int = -1, score_field: str = "scores"
) -> BoxList:
    """Greedy non-maximum suppression.

    Args:
        boxlist: boxes with scores.
        nms_thresh: a box goes when its overlap with a better one reaches this; 0 or less returns
            `boxlist` untouched.
        max_proposals: keep only so many of the remaining boxes, the first in input order; all of
            them if not positive.
        score_field: name of the field with the scores.

    Returns:
        The kept boxes in input order (not by score), in the mode of `boxlist`.
    """
    if nms_thresh <= 0:
        return boxlist
    corners = boxlist.convert("xyxy").bbox
    # Detectron: suppressed at IoU >= threshold on a CPU, > threshold on a GPU.
    inclusive = corners.device.type == "cpu"
    keep = nms(
        corners,
        boxlist.get_field(score_field),
        nms_thresh,
        offset=LEGACY_OFFSET,
        inclusive=inclusive,
    )
    if max_proposals > 0:
        keep = keep[:max_proposals]
    return boxlist[keep]


def remove_small_boxes(boxlist: BoxList, min_size: float) -> BoxList:
    """Boxes of at least `min_size` pixels in width and in height."""
    keep = is_at_least(boxlist.convert("xyxy").bbox, min_size, offset=LEGACY_OFFSET)
    return boxlist[keep.nonzero().squeeze(1)]


def boxlist_iou(boxlist1: BoxList, boxlist2: BoxList) -> Tensor:
    """Intersection over union (N, M) of every pair of two BoxLists of the same image.

    Raises:
        RuntimeError: if the image sizes differ.
    """
    if boxlist1.size != boxlist2.size:
        raise RuntimeError(
            "boxlists should have the same image size: "
            f"got {tuple(boxlist1.size)} and {tuple(boxlist2.size)}"
        )
    return box_iou(
        boxlist1.convert("xyxy").bbox, boxlist2.convert("xyxy").bbox, offset=LEGACY_OFFSET
    )


def cat_boxlist(bboxes: Sequence[BoxList]) -> BoxList:
    """One BoxList with the boxes of several, which must agree in size, mode and names of fields.

    Raises:
        ShapeError: if they do not, or if there are none.
    """
    if not bboxes:
        raise ShapeError("cat_boxlist needs at least one BoxList, got an empty sequence")
    first = bboxes[0]
    for index, other in enumerate(bboxes):
        for what, mine, theirs in (
            ("size", tuple(first.size), tuple(other.size)),
            ("mode", first.mode, other.mode),
            ("fields", sorted(first.fields()), sorted(other.fields())),
        ):
            if mine != theirs:
                raise ShapeError(
                    f"BoxLists to concatenate must agree in {what}: "
                    f"number 0 has {mine}, number {index} has {theirs}"
                )
    result = BoxList(torch.cat([boxlist.bbox for boxlist in bboxes]), first.size, first.mode)
    result.sample_seed = first.sample_seed
    for field in first.fields():
        result.add_field(field, _cat_fields(field, [b.get_field(field) for b in bboxes]))
    return result


def _cat_fields(name: str, parts: Sequence[Any]) -> Any:
    """Concatenate one field: tensors, lists, or objects with a `cat` class method."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts))
    if isinstance(parts[0], list):
        return [entry for part in parts for entry in part]
    if hasattr(parts[0], "cat"):
        return type(parts[0]).cat(parts)
    raise TypeError(f"field {name!r} of type {type(parts[0]).__name__} cannot be concatenated")
