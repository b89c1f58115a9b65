"""Losses over padded samples: each element counts by its mask, each normaliser is explicit."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def smooth_l1_sum(
    prediction: Tensor, target: Tensor, mask: Tensor, *, beta: float, per_image: bool = False
) -> Tensor:
    """Sum of smooth L1 (Fast R-CNN, equation 3) over the rows that count.

    Args:
        prediction: (..., D).
        target: (..., D).
        mask: (...) bool, which rows count.
        beta: where the parabola meets the line.
        per_image: one sum for each index of the first axis.
    """
    # Rows that do not count may hold anything, infinities too: they are replaced, not multiplied by 0.
    keep = mask[..., None]
    difference = torch.where(keep, prediction - torch.where(keep, target, 0.0), 0.0)
    zeros = torch.zeros_like(difference)
    if per_image:
        return F.smooth_l1_loss(difference, zeros, reduction="none", beta=beta).flatten(1).sum(1)
    return F.smooth_l1_loss(difference, zeros, reduction="sum", beta=beta)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values that count; 0 (with a gradient of 0) where none does."""
    total = torch.where(mask, values, 0.0).sum()
    return total / mask.sum().clamp(min=1)
