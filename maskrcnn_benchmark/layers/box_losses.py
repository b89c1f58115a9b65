"""Losses of regressed boxes: smooth L1 on the deltas, or 1 - IoU and its kin on the boxes themselves.

Boxes are xyxy; `offset` is 1 for inclusive corners and 0 for continuous ones, see `layers.boxes`.

...: any leading (batch) axes.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.boxes import (
    LEGACY_OFFSET,
    MAX_LOG_SCALE,
    DeltaWeights,
    decode_boxes,
    encode_boxes,
)
from maskrcnn_benchmark.layers.losses import smooth_l1_sum

BoxLossName = Literal["smooth_l1", "giou", "diou", "ciou"]

# Keeps quotients of empty boxes finite (torchvision's value).
_EPSILON = 1e-7


def giou_loss(
    predicted: Tensor, target: Tensor, *, offset: float = LEGACY_OFFSET, eps: float = _EPSILON
) -> Tensor:
    """1 - generalised IoU of each pair (Rezatofighi et al., arXiv:1902.09630), in [0, 2].

    Args:
        predicted: (..., 4).
        target: (..., 4).
        offset: see the module.
        eps: guard of the quotients.

    Returns:
        (...).
    """
    predicted, target = _continuous(predicted, offset), _continuous(target, offset)
    iou, union = _iou_and_union(predicted, target, eps)
    hull = _hull_size(predicted, target).prod(dim=-1)
    return 1 - iou + (hull - union) / (hull + eps)


def diou_loss(
    predicted: Tensor, target: Tensor, *, offset: float = LEGACY_OFFSET, eps: float = _EPSILON
) -> Tensor:
    """1 - IoU + squared distance of the centres over that of the hull's corners (arXiv:1911.08287, equation 7).

    Args:
        predicted: (..., 4).
        target: (..., 4).
        offset: see the module.
        eps: guard of the quotients.

    Returns:
        (...), in [0, 2].
    """
    predicted, target = _continuous(predicted, offset), _continuous(target, offset)
    iou, _ = _iou_and_union(predicted, target, eps)
    return 1 - iou + _centre_distance(predicted, target, eps)


def ciou_loss(
    predicted: Tensor, target: Tensor, *, offset: float = LEGACY_OFFSET, eps: float = _EPSILON
) -> Tensor:
    """The distance loss with a term for the aspect ratio (arXiv:1911.08287, equations 8 to 11).

    Args:
        predicted: (..., 4).
        target: (..., 4).
        offset: see the module.
        eps: guard of the quotients.

    Returns:
        (...).
    """
    predicted, target = _continuous(predicted, offset), _continuous(target, offset)
    iou, _ = _iou_and_union(predicted, target, eps)
    difference = _angle(target, eps) - _angle(predicted, eps)
    aspect = 4 / math.pi**2 * difference.square()
    # The weight counts as a constant (the paper's section "Complete IoU loss").
    weight = (aspect / (1 - iou + aspect + eps)).detach()
    return 1 - iou + _centre_distance(predicted, target, eps) + weight * aspect


_LOSSES = {"giou": giou_loss, "diou": diou_loss, "ciou": ciou_loss}


def box_regression_loss(
    loss: BoxLossName,
    deltas: Tensor,
    proposals: Tensor,
    targets: Tensor,
    mask: Tensor,
    *,
    weights: DeltaWeights,
    beta: float,
    offset: float = LEGACY_OFFSET,
    max_log_scale: float = MAX_LOG_SCALE,
    per_image: bool = False,
) -> Tensor:
    """Sum of a box loss over the rows that count.

    Args:
        loss: smooth_l1 compares deltas; giou, diou and ciou compare decoded boxes.
        deltas: (..., 4), predicted.
        proposals: (..., 4), anchors or regions that the deltas move.
        targets: (..., 4), what they should become.
        mask: (...) bool, which rows count; the others may hold anything.
        weights: factors of (dx, dy, dw, dh).
        beta: of smooth L1, 0 for L1.
        offset: see the module.
        max_log_scale: see `layers.boxes.decode_boxes`.
        per_image: one sum for each index of the first axis.

    Raises:
        ConfigError: for another name.
    """
    if loss == "smooth_l1":
        wanted = encode_boxes(targets, proposals, weights=weights, offset=offset)
        return smooth_l1_sum(deltas, wanted, mask, beta=beta, per_image=per_image)
    if loss not in _LOSSES:
        raise ConfigError(
            f"box loss: expected smooth_l1, {', '.join(_LOSSES)}, got {loss!r}. Set the head's LOSS_TYPE accordingly."
        )
    predicted = decode_boxes(
        deltas, proposals, weights=weights, offset=offset, max_log_scale=max_log_scale
    )
    # Two equal boxes in the place of rows that do not count: finite, and without gradient.
    keep = mask[..., None]
    unit = (torch.arange(4, device=deltas.device) >= 2).to(deltas.dtype)  # 0, 0, 1, 1
    values = _LOSSES[loss](
        torch.where(keep, predicted, unit), torch.where(keep, targets, unit), offset=offset
    )
    values = torch.where(mask, values, 0.0)
    return values.flatten(1).sum(dim=1) if per_image else values.sum()


def _continuous(boxes: Tensor, offset: float) -> Tensor:
    """The same boxes with exclusive corners: all else is then the papers' formula."""
    return torch.cat((boxes[..., :2], boxes[..., 2:] + offset), dim=-1) if offset else boxes


def _iou_and_union(first: Tensor, second: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    inter = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(dim=-1) for boxes in (first, second)]
    union = areas[0] + areas[1] - inter
    return inter / (union + eps), union


def _hull_size(first: Tensor, second: Tensor) -> Tensor:
    """Width and height (..., 2) of the smallest box around both."""
    low = torch.minimum(first[..., :2], second[..., :2])
    high = torch.maximum(first[..., 2:], second[..., 2:])
    return high - low


def _centre_distance(first: Tensor, second: Tensor, eps: float) -> Tensor:
    """Squared distance of the centres, in units of the hull's squared diagonal."""
    diagonal = _hull_size(first, second).square().sum(dim=-1)
    apart = (first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]) / 2
    return apart.square().sum(dim=-1) / (diagonal + eps)


def _angle(boxes: Tensor, eps: float) -> Tensor:
    """atan(width / height)."""
    width, height = (boxes[..., 2:] - boxes[..., :2]).unbind(-1)
    # Sides of nothing have no aspect; the clamp only keeps the derivative finite.
    return torch.atan2(width.clamp(min=eps), height.clamp(min=eps))
