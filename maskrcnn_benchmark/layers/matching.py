"""Which target does each candidate box belong to: the matching rule of Faster R-CNN (section 3.1.2), batched.

B: images.    G: targets per image, padded, at least 1.    A: candidates (anchors or proposals).
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskrcnn_benchmark.layers.boxes import LEGACY_OFFSET, box_iou

BELOW_LOW_THRESHOLD = -1
BETWEEN_THRESHOLDS = -2

# Overlaps are computed for so many (target, candidate) pairs at a time, which bounds the memory: 2**22
# pairs are 16 MiB a temporary, small enough to stay in the cache of a server CPU.
MAX_PAIRS = 2**22


def match_boxes(
    targets: Tensor,
    valid: Tensor,
    candidates: Tensor,
    *,
    high_threshold: float,
    low_threshold: float,
    allow_low_quality: bool = False,
    offset: float = LEGACY_OFFSET,
) -> Tensor:
    """Assign each candidate the target it overlaps most, or none.

    With `allow_low_quality`, every candidate whose overlap equals the best overlap that some target has with
    any candidate keeps its own best target even below the thresholds. As in Detectron, a target that
    overlaps nothing has best overlap 0, so that all candidates with overlap 0 become matches.

    Args:
        targets: (B, G, 4) xyxy.
        valid: (B, G) bool, which targets are real.
        candidates: (A, 4), the same for all images, or (B, A, 4).
        high_threshold: overlap from which a candidate is matched.
        low_threshold: overlap below which it is background.
        allow_low_quality: see above.
        offset: 1 for inclusive corners, 0 for continuous ones.

    Returns:
        (B, A) int64: the index of the target, BELOW_LOW_THRESHOLD or BETWEEN_THRESHOLDS.
    """
    batch, max_targets = valid.shape
    if candidates.dim() == 2:
        candidates = candidates.expand(batch, -1, -1)
    chunk = max(1, MAX_PAIRS // (batch * max_targets))
    pieces = candidates.split(chunk, dim=1)
    overlaps = [_overlaps(targets, valid, pieces[0], offset)]
    best = [overlaps[0].max(dim=1)]
    best_of_target = overlaps[0].amax(dim=2)  # (B, G)
    for piece in pieces[1:]:
        iou = _overlaps(targets, valid, piece, offset)
        best.append(iou.max(dim=1))
        best_of_target = torch.maximum(best_of_target, iou.amax(dim=2))
    value = torch.cat([b.values for b in best], dim=1)  # (B, A)
    index = torch.cat([b.indices for b in best], dim=1)

    matches = torch.where(value < high_threshold, BETWEEN_THRESHOLDS, index)
    matches = torch.where(value < low_threshold, BELOW_LOW_THRESHOLD, matches)
    if allow_low_quality:
        # Padded targets have overlap -1 with everything; -2 equals none of them.
        wanted = torch.where(valid, best_of_target, -2.0)[:, :, None]  # (B, G, 1)
        is_best = [(overlaps[0] == wanted).any(dim=1)]
        for piece in pieces[1:]:
            is_best.append((_overlaps(targets, valid, piece, offset) == wanted).any(dim=1))
        matches = torch.where(torch.cat(is_best, dim=1), index, matches)
    return matches


def _overlaps(targets: Tensor, valid: Tensor, candidates: Tensor, offset: float) -> Tensor:
    """IoU (B, G, A) in which the rows of padded targets are -1."""
    iou = box_iou(targets, candidates, offset=offset)
    return iou.masked_fill_(~valid[:, :, None], -1.0)
