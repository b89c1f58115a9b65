"""Which boxes of two lists are the same object."""

from __future__ import annotations

from torch import Tensor

from maskrcnn_benchmark.layers.boxes import box_iou


def pair_by_overlap(
    boxes1: Tensor,
    labels1: Tensor,
    boxes2: Tensor,
    labels2: Tensor,
    *,
    min_iou: float,
    offset: float,
) -> list[tuple[int, int]]:
    """Pairs of rows of the same label, the greatest overlap first; a row is in one pair at most.

    Args:
        boxes1: (N, 4) xyxy.
        labels1: (N,).
        boxes2: (M, 4).
        labels2: (M,).
        min_iou: boxes that overlap less are two objects; above 0.
        offset: 1 for inclusive corners, 0 for continuous ones.

    Returns:
        Row of the first list and row of the second, of each pair.
    """
    # Boxes without an area overlap nothing: 0 / 0.
    overlaps = box_iou(boxes1, boxes2, offset=offset).nan_to_num(nan=0.0)  # (N, M)
    overlaps = overlaps * (labels1[:, None] == labels2[None])
    candidates = (overlaps >= min_iou).nonzero()
    order = overlaps[candidates.unbind(1)].argsort(descending=True, stable=True)
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for one, two in candidates[order].tolist():
        if one not in pairs and two not in taken:
            pairs[one] = two
            taken.add(two)
    return list(pairs.items())
