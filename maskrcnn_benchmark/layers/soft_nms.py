"""Soft non-maximum suppression (Bodla et al., arXiv:1704.04503): overlap lowers a score instead of ending it.

B: images.    N: candidates of each image.    K: the fixed number of results.    G: groups, M: members of the largest.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.boxes import LEGACY_OFFSET, box_iou

NmsName = Literal["hard", "soft_linear", "soft_gaussian"]
_METHODS = ("soft_linear", "soft_gaussian")
# The score of places that hold no candidate, or one that has been taken.
_NONE = -1.0


@torch.library.custom_op("maskrcnn::soft_nms_padded", mutates_args=())
def _soft_nms_padded(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor,
    valid: Tensor,
    is_gaussian: bool,
    iou_threshold: float,
    sigma: float,
    score_threshold: float,
    max_output: int,
    offset: float,
) -> tuple[Tensor, Tensor, Tensor]:
    shape = (boxes.shape[0], max_output)
    indices = boxes.new_zeros(shape, dtype=torch.int64)
    kept_scores = scores.new_zeros(shape)
    kept_mask = boxes.new_zeros(shape, dtype=torch.bool)
    for image in range(shape[0]):
        candidates = (valid[image] & (scores[image] > score_threshold)).nonzero().squeeze(1)
        if candidates.numel() == 0:
            continue
        chosen, values = _suppress_groups(
            boxes[image, candidates],
            scores[image, candidates],
            groups[image, candidates],
            is_gaussian=is_gaussian,
            iou_threshold=iou_threshold,
            sigma=sigma,
            score_threshold=score_threshold,
            most=max_output,
            offset=offset,
        )
        count = chosen.numel()
        indices[image, :count] = candidates[chosen]
        kept_scores[image, :count] = values
        kept_mask[image, :count] = True
    return indices, kept_scores, kept_mask


@_soft_nms_padded.register_fake
def _(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor,
    valid: Tensor,
    is_gaussian: bool,
    iou_threshold: float,
    sigma: float,
    score_threshold: float,
    max_output: int,
    offset: float,
) -> tuple[Tensor, Tensor, Tensor]:
    shape = (boxes.shape[0], max_output)
    return (
        boxes.new_empty(shape, dtype=torch.int64),
        scores.new_empty(shape),
        boxes.new_empty(shape, dtype=torch.bool),
    )


def soft_nms_padded(
    boxes: Tensor,
    scores: Tensor,
    *,
    groups: Tensor,
    valid: Tensor,
    method: NmsName,
    max_output: int,
    iou_threshold: float = 0.5,
    sigma: float = 0.5,
    score_threshold: float = 0.0,
    offset: float = LEGACY_OFFSET,
) -> tuple[Tensor, Tensor, Tensor]:
    """Take the best of each image and group, lower the scores of what overlaps it, and so on.

    One operator with a fixed result shape, as `layers.nms.nms_padded`.

    Args:
        boxes: (B, N, 4) xyxy.
        scores: (B, N), 0 to 1.
        groups: (B, N) integers; boxes of different groups never touch.
        valid: (B, N) bool; other candidates are ignored.
        method: soft_linear multiplies by 1 - IoU where that is above the threshold; soft_gaussian by
            exp(-IoU^2 / sigma), whatever the IoU.
        max_output: K.
        iou_threshold: of soft_linear.
        sigma: of soft_gaussian.
        score_threshold: a candidate whose score sinks to it (or begins there) is dropped.
        offset: 1 for inclusive corners, 0 for continuous ones.

    Returns:
        Indices (B, K) int64 into N by descending lowered score (0 where padded), those scores (B, K), and validity
        (B, K).

    Raises:
        ConfigError: for another method.
    """
    if method not in _METHODS:
        raise ConfigError(
            f"soft NMS: expected one of {', '.join(_METHODS)}, got {method!r}. Set MODEL.ROI_HEADS.NMS_TYPE to one of "
            "them, or to hard."
        )
    result: tuple[Tensor, Tensor, Tensor] = _soft_nms_padded(
        boxes.detach().float(),
        scores.detach().float(),
        groups,
        valid,
        method == "soft_gaussian",
        float(iou_threshold),
        float(sigma),
        float(score_threshold),
        int(max_output),
        float(offset),
    )
    return result


def _suppress_groups(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor,
    *,
    is_gaussian: bool,
    iou_threshold: float,
    sigma: float,
    score_threshold: float,
    most: int,
    offset: float,
) -> tuple[Tensor, Tensor]:
    """Indices and lowered scores of the survivors of one image, best first, at most `most`."""
    # All groups take their best at the same time: (G, M) places, in each row the members of one group in input order.
    place = _members(groups)
    own = place.clamp(min=0)
    left = torch.where(place >= 0, scores[own], _NONE)  # (G, M)
    members = boxes[own]  # (G, M, 4)
    taken, values = [], []
    for _ in range(min(most, place.shape[1])):
        score, column = left.max(dim=1)  # (G,)
        running = score > score_threshold
        if not bool(running.any()):
            break
        taken.append(torch.where(running, place.gather(1, column[:, None]).squeeze(1), -1))
        values.append(torch.where(running, score, _NONE))
        best = members.gather(1, column[:, None, None].expand(-1, 1, 4))
        # Boxes without extent overlap nothing, themselves neither.
        iou = box_iou(best, members, offset=offset).squeeze(1).nan_to_num(0.0)
        linear = torch.where(iou > iou_threshold, 1 - iou, 1.0)
        factor = torch.exp(-iou.square() / sigma) if is_gaussian else linear
        left = torch.where(left > score_threshold, left * factor, _NONE)
        left = left.scatter(1, column[:, None], _NONE)
    index, score = torch.cat(taken), torch.cat(values)
    index, score = index[index >= 0], score[index >= 0]
    # Equal scores in input order, as in `nms_padded`.
    order = index.argsort()
    index, score = index[order], score[order]
    order = score.sort(descending=True, stable=True).indices[:most]
    return index[order], score[order]


def _members(groups: Tensor) -> Tensor:
    """Which candidates belong to each group, (G, M) int64 filled up with -1."""
    order = groups.sort(stable=True).indices
    _, row, counts = torch.unique_consecutive(
        groups[order], return_inverse=True, return_counts=True
    )
    first = counts.cumsum(0) - counts
    column = torch.arange(order.numel(), device=groups.device) - first[row]
    table = order.new_full((counts.numel(), int(counts.max())), -1)
    table[row, column] = order
    return table
