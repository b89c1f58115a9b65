"""Non-maximum suppression, for one list of boxes and for a padded batch.

B: images.    N: candidates of each image.    K: the fixed number of results.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms as torchvision_nms

from maskrcnn_benchmark.layers.boxes import LEGACY_OFFSET

# Of many candidates so many times the number of results are tried first.
_FIRST_TRIED = 4


def nms(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    *,
    offset: float = LEGACY_OFFSET,
    inclusive: bool = True,
) -> Tensor:
    """Greedy suppression within one list.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        iou_threshold: overlap beyond which the box of lower score goes.
        offset: 1 for inclusive corners, 0 for continuous ones.
        inclusive: whether an overlap of exactly the threshold suppresses as well (Detectron on CPU).

    Returns:
        Indices of the kept boxes, ascending (input order, not by score).
    """
    return _nms_by_score(boxes, scores, iou_threshold, offset, inclusive).sort().values


@torch.library.custom_op("maskrcnn::nms_padded", mutates_args=())
def _nms_padded(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor,
    valid: Tensor,
    iou_threshold: float,
    max_output: int,
    max_per_group: int,
    offset: float,
    inclusive: bool,
) -> tuple[Tensor, Tensor]:
    batch = boxes.shape[0]
    indices = boxes.new_zeros((batch, max_output), dtype=torch.int64)
    kept_mask = boxes.new_zeros((batch, max_output), dtype=torch.bool)
    for image in range(batch):
        candidates = valid[image].nonzero().squeeze(1)
        if candidates.numel() == 0:
            continue
        kept = _nms_best(
            boxes[image],
            scores[image],
            groups[image],
            candidates,
            iou_threshold,
            max_output,
            max_per_group,
            offset,
            inclusive,
        )
        indices[image, : kept.numel()] = kept
        kept_mask[image, : kept.numel()] = True
    return indices, kept_mask


@_nms_padded.register_fake
def _(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor,
    valid: Tensor,
    iou_threshold: float,
    max_output: int,
    max_per_group: int,
    offset: float,
    inclusive: bool,
) -> tuple[Tensor, Tensor]:
    shape = (boxes.shape[0], max_output)
    return boxes.new_empty(shape, dtype=torch.int64), boxes.new_empty(shape, dtype=torch.bool)


def nms_padded(
    boxes: Tensor,
    scores: Tensor,
    *,
    groups: Tensor,
    valid: Tensor,
    iou_threshold: float,
    max_output: int,
    max_per_group: int = 0,
    offset: float = LEGACY_OFFSET,
    inclusive: bool = True,
) -> tuple[Tensor, Tensor]:
    """Suppress within every image and group of a padded batch, in one call.

    One operator with a fixed result shape, so that it can be compiled whole and exported.

    Args:
        boxes: (B, N, 4) xyxy.
        scores: (B, N).
        groups: (B, N) integers; boxes of different groups (classes, pyramid levels) never touch.
        valid: (B, N) bool; other candidates are ignored.
        iou_threshold: as in `nms`; at or below 0 nothing is suppressed.
        max_output: K, how many of the best survivors of each image are returned.
        max_per_group: of each group only so many of the best survive (0: no limit).
        offset: as in `nms`.
        inclusive: as in `nms`.

    Returns:
        Indices (B, K) int64 into N by descending score (0 where padded), and their validity (B, K).
    """
    result: tuple[Tensor, Tensor] = _nms_padded(
        boxes.detach(),
        scores.detach(),
        groups,
        valid,
        float(iou_threshold),
        int(max_output),
        int(max_per_group),
        float(offset),
        bool(inclusive),
    )
    return result


def _nms_best(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor,
    candidates: Tensor,
    iou_threshold: float,
    max_output: int,
    max_per_group: int,
    offset: float,
    inclusive: bool,
) -> Tensor:
    """Up to `max_output` kept indices by descending score, of the candidates (indices, ascending) of one image.

    Whether a box is kept depends on better ones alone. So the best few candidates are tried first: where enough of them
    are kept, the others would not be among the results. With 80 classes there can be 80,000 others.
    """
    own = scores[candidates]
    some = _FIRST_TRIED * max_output
    if own.numel() > 2 * some:
        # All that tie with the last one are tried as well; the order among equals is that of the input.
        least = own.topk(some, sorted=True).values[-1]
        best = candidates[~(own < least)]
        kept = _nms_grouped(
            boxes[best],
            scores[best],
            groups[best],
            iou_threshold,
            max_per_group,
            offset,
            inclusive,
        )
        if kept.numel() >= max_output:
            return best[kept[:max_output]]
    kept = _nms_grouped(
        boxes[candidates], own, groups[candidates], iou_threshold, max_per_group, offset, inclusive
    )
    return candidates[kept[:max_output]]


def _nms_grouped(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor,
    iou_threshold: float,
    max_per_group: int,
    offset: float,
    inclusive: bool,
) -> Tensor:
    """Kept indices over all groups by descending score; ties keep input order."""
    order = scores.sort(descending=True, stable=True).indices
    boxes, scores, groups = boxes[order], scores[order], groups[order]
    # Group by group rather than one call on boxes shifted apart: a shift of many image sizes
    # costs float32 the last digits of the overlap.
    by_group = groups.sort(stable=True).indices
    # Counted on the CPU: there it takes one wait for a GPU, not several.
    counts = torch.unique_consecutive(groups[by_group].cpu(), return_counts=True)[1].tolist()
    survivors = []
    for members in by_group.split(counts):
        if members.numel() > 1 and iou_threshold > 0:
            kept = _nms_by_score(boxes[members], scores[members], iou_threshold, offset, inclusive)
            members = members[kept]
        survivors.append(members[:max_per_group] if max_per_group else members)
    return order[torch.cat(survivors).sort().values]


def _nms_by_score(
    boxes: Tensor, scores: Tensor, iou_threshold: float, offset: float, inclusive: bool
) -> Tensor:
    """Kept indices by descending score."""
    boxes, scores = boxes.float(), scores.float()
    if offset:
        # An inclusive box covers [x1, x2 + 1): the same areas and overlaps without an offset.
        boxes = torch.cat((boxes[:, :2], boxes[:, 2:] + offset), dim=1)
    threshold = float(np.float32(iou_threshold))
    if inclusive:
        # The overlap is a float32: "at least t" is "more than the float32 just below t".
        threshold = float(np.nextafter(np.float32(iou_threshold), np.float32(-np.inf)))
    kept: Tensor = torchvision_nms(boxes, scores, threshold)
    return kept
