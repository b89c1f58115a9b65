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
    pieces = candidates.split(max(1, MAX_PAIRS // (batch * max_targets)), dim=1)
    groups = [_nearby(targets, valid, piece, offset, len(pieces)) for piece in pieces]
    first = valid.to(torch.int8).argmax(dim=1, keepdim=True)  # (B, 1)
    values, indices = [], []
    best_of_target = torch.zeros_like(targets[..., 0])  # (B, G)
    for piece, near in zip(pieces, groups, strict=True):
        iou = _overlaps(targets, valid, piece, offset, near)
        value, index = iou.max(dim=1)
        if near is None:
            best_of_target = torch.maximum(best_of_target, iou.amax(dim=2))
        else:
            best_of_target[:, near] = torch.maximum(best_of_target[:, near], iou.amax(dim=2))
            # Of several overlaps of 0, those with targets further away included, the first target's counts.
            index = torch.where(value > 0, near[index], first)
            value = value.clamp(min=0).masked_fill(~valid.any(dim=1)[:, None], -1.0)
        values.append(value)
        indices.append(index)
    value, index = torch.cat(values, dim=1), torch.cat(indices, dim=1)  # (B, A)

    matches = torch.where(value < high_threshold, BETWEEN_THRESHOLDS, index)
    matches = torch.where(value < low_threshold, BELOW_LOW_THRESHOLD, matches)
    if allow_low_quality:
        # Padded targets have overlap -1 with everything; -2 equals none of them.
        wanted = torch.where(valid, best_of_target, -2.0)[:, :, None]  # (B, G, 1)
        is_best = []
        for piece, near in zip(pieces, groups, strict=True):
            iou = _overlaps(targets, valid, piece, offset, near)
            is_best.append((iou == (wanted if near is None else wanted[:, near])).any(dim=1))
        # A target that overlaps nothing has overlap 0 with every candidate.
        is_lonely = (wanted == 0).any(dim=1)  # (B, 1)
        matches = torch.where(torch.cat(is_best, dim=1) | is_lonely, index, matches)
    return matches


def _nearby(
    targets: Tensor, valid: Tensor, candidates: Tensor, offset: float, num_pieces: int
) -> Tensor | None:
    """Which targets may overlap one of the candidates, (n,) with n at least 1; None for all.

    Anchors come row by row, so a piece of them meets few of many targets: 2,000 objects on 4,000 x 4,000 pixels are
    8 billion pairs, of which a few hundredths overlap. Only eagerly on a CPU, as the number depends on the data.
    """
    if num_pieces == 1 or candidates.device.type != "cpu" or torch.compiler.is_compiling():
        return None
    low = candidates[..., :2].amin(dim=1, keepdim=True)  # (B, 1, 2)
    high = candidates[..., 2:].amax(dim=1, keepdim=True)
    meets = (targets[..., 2:] + offset > low) & (targets[..., :2] < high + offset)
    near = (meets.all(dim=2) & valid).any(dim=0).nonzero().squeeze(1)
    return near if near.numel() else near.new_zeros(1)


def _overlaps(
    targets: Tensor, valid: Tensor, candidates: Tensor, offset: float, near: Tensor | None
) -> Tensor:
    """IoU (B, G, A), of nearby targets only (B, n, A) if they are given; the rows of padded targets are -1."""
    if near is not None:
        targets, valid = targets[:, near], valid[:, near]
    iou = box_iou(targets, candidates, offset=offset)
    return iou.masked_fill_(~valid[:, :, None], -1.0)
