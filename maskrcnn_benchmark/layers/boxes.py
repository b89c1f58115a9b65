"""Box arithmetic: area, overlap, clipping, and (proposal, target) <-> deltas.

Boxes are xyxy in absolute pixels; `offset` is 1 for Detectron-era inclusive corners (width = x2 - x1 + 1) and 0
for continuous ones; see docs/explanation/conventions.md.

N, M: boxes.    K: classes, background included (label 0).    ...: any leading (batch) axes, broadcast.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from maskrcnn_benchmark.errors import ShapeError

# The width of an inclusive box: x2 - x1 + LEGACY_OFFSET.
LEGACY_OFFSET = 1.0

# exp(dw) is clamped so that a 16 px anchor grows at most to 1000 px (Detectron, `BBOX_XFORM_CLIP`).
MAX_LOG_SCALE = math.log(1000.0 / 16)

DeltaWeights = tuple[float, float, float, float]


def box_area(boxes: Tensor, *, offset: float = LEGACY_OFFSET) -> Tensor:
    """Areas (..., N) of boxes (..., N, 4), in square pixels."""
    size = boxes[..., 2:] - boxes[..., :2] + offset
    return size[..., 0] * size[..., 1]


def box_iou(boxes1: Tensor, boxes2: Tensor, *, offset: float = LEGACY_OFFSET) -> Tensor:
    """Intersection over union of every pair.

    Args:
        boxes1: (..., N, 4).
        boxes2: (..., M, 4), the leading axes broadcast with those of `boxes1`.
        offset: see the module.

    Returns:
        (..., N, M) in [0, 1].
    """
    # One coordinate at a time: half the memory of (..., N, M, 2) and twice as fast on a CPU.
    x1, y1, x2, y2 = boxes1[..., :, None, :].unbind(-1)
    a1, b1, a2, b2 = boxes2[..., None, :, :].unbind(-1)
    width = (torch.minimum(x2, a2) - torch.maximum(x1, a1)).add_(offset).clamp_(min=0)
    height = (torch.minimum(y2, b2) - torch.maximum(y1, b1)).add_(offset).clamp_(min=0)
    inter = width.mul_(height)
    union = (
        box_area(boxes1, offset=offset)[..., :, None]
        + box_area(boxes2, offset=offset)[..., None, :]
    )
    return inter / (union - inter)


def clip_boxes(boxes: Tensor, image_sizes: Tensor, *, offset: float = LEGACY_OFFSET) -> Tensor:
    """Move corners into the image; boxes may become empty.

    Args:
        boxes: (B, N, 4).
        image_sizes: (B, 2) height and width in pixels.
        offset: inclusive corners end at width - 1, continuous ones at width.
    """
    limit = (image_sizes.to(boxes.dtype) - offset).flip(-1).repeat(1, 2)[:, None, :]  # (B, 1, 4)
    return torch.minimum(boxes.clamp(min=0), limit)


def is_at_least(boxes: Tensor, min_size: float, *, offset: float = LEGACY_OFFSET) -> Tensor:
    """Mask (..., N) of the boxes whose width and height are both at least `min_size` pixels."""
    size = boxes[..., 2:] - boxes[..., :2] + offset
    return (size >= min_size).all(dim=-1)


def encode_boxes(
    targets: Tensor,
    proposals: Tensor,
    *,
    weights: DeltaWeights,
    offset: float = LEGACY_OFFSET,
) -> Tensor:
    """Deltas that move and scale each proposal onto its target (Fast R-CNN, section 3.1).

    Args:
        targets: (..., 4).
        proposals: (..., 4).
        weights: factors of (dx, dy, dw, dh).
        offset: see the module.

    Returns:
        (..., 4) dx, dy, dw, dh.
    """
    size = proposals[..., 2:] - proposals[..., :2] + offset
    center = proposals[..., :2] + 0.5 * size
    target_size = targets[..., 2:] - targets[..., :2] + offset
    target_center = targets[..., :2] + 0.5 * target_size
    shift = (target_center - center) / size
    scale = torch.log(target_size / size)
    wx, wy, ww, wh = weights
    return torch.stack(
        (wx * shift[..., 0], wy * shift[..., 1], ww * scale[..., 0], wh * scale[..., 1]), dim=-1
    )


def decode_boxes(
    deltas: Tensor,
    proposals: Tensor,
    *,
    weights: DeltaWeights,
    offset: float = LEGACY_OFFSET,
    max_log_scale: float = MAX_LOG_SCALE,
) -> Tensor:
    """Move and scale each proposal by its predicted deltas.

    Args:
        deltas: (..., 4 * K), per class (dx, dy, dw, dh), multiplied by `weights`.
        proposals: (..., 4) xyxy.
        weights: what the four deltas were multiplied by in training.
        offset: see the module.
        max_log_scale: upper bound of dw and dh.

    Returns:
        (..., 4 * K) xyxy, not clipped to the image.

    Raises:
        ShapeError: if the leading axes differ, or the last is no multiple of 4.
    """
    if deltas.shape[:-1] != proposals.shape[:-1] or deltas.shape[-1] % 4:
        raise ShapeError(
            "decode_boxes: expected deltas (..., 4 * K) and proposals (..., 4) with the same leading "
            f"axes, got {tuple(deltas.shape)} and {tuple(proposals.shape)}."
        )
    proposals = proposals.to(deltas.dtype)
    size = proposals[..., 2:] - proposals[..., :2] + offset  # (..., 2)
    center = (proposals[..., :2] + 0.5 * size)[..., None, :]  # (..., 1, 2)
    size = size[..., None, :]
    per_class = deltas.unflatten(-1, (-1, 4))  # (..., K, 4)
    wx, wy, ww, wh = weights
    shift = per_class[..., :2] / _pair_on(deltas, wx, wy)
    scale = (per_class[..., 2:] / _pair_on(deltas, ww, wh)).clamp(max=max_log_scale)
    new_center = shift * size + center
    half = 0.5 * (torch.exp(scale) * size)
    return torch.cat((new_center - half, new_center + half - offset), dim=-1).flatten(-2)


def _pair_on(like: Tensor, first: float, second: float) -> Tensor:
    """Two numbers (2,) made where `like` is: a copy of them to a GPU would wait for all that it has still to do."""
    return torch.stack((like.new_full((), first), like.new_full((), second)))
