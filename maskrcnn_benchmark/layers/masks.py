"""Masks between the image and the fixed grid of a region: rasterising targets, pasting predictions.

R: regions.    N: masks.    M: side of the grid.    H, W: image height and width.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from pycocotools import mask as mask_util
from torch import Tensor

from maskrcnn_benchmark.numerics import PasteStyle

# A region thinner than this many pixels is treated as so wide when targets are scaled to the grid (the old
# code divided by zero on one-pixel regions).
MIN_SIDE = 0.1
# Pixels of a window that are sampled at once.
_MOST_PIXELS = 4_000_000


def paste_window(
    mask: Tensor,
    box: Tensor,
    *,
    height: int,
    width: int,
    threshold: float = 0.5,
    padding: int = 1,
    style: PasteStyle = "integer",
) -> tuple[int, int, Tensor]:
    """Resize one predicted mask to its box and cut what lies outside the image.

    integer, as Detectron: the mask gets a border of zeros, the box grows accordingly about its centre (half sizes
    (x2 - x1) / 2), its corners are truncated towards zero; pixels above the threshold belong to the mask.
    grid, as detectron2: the mask is read at the centre of every pixel, zero beyond its cells; pixels at or above the
    threshold belong to it.

    Args:
        mask: (M, M) probabilities.
        box: (4,) xyxy in image pixels.
        height: H.
        width: W.
        threshold: see above.
        padding: width of the border of zeros, in cells (integer).
        style: see above.

    Returns:
        Row and column of the window's first pixel, and the window, a bool tensor (h, w), perhaps empty.
    """
    if style == "grid":
        return _paste_grid(mask, box, height=height, width=width, threshold=threshold)
    side = mask.shape[-1]
    padded = F.pad(mask.float()[None, None], (padding,) * 4)
    grow = (side + 2 * padding) / side
    center = (box[2:] + box[:2]) * 0.5
    half = (box[2:] - box[:2]) * 0.5 * grow
    # .to(int64) truncates towards zero.
    x1, y1 = (center - half).to(torch.int64).tolist()
    x2, y2 = (center + half).to(torch.int64).tolist()
    top, bottom = max(y1, 0), min(y2 + 1, height)
    left, right = max(x1, 0), min(x2 + 1, width)
    if bottom <= top or right <= left:
        return _nothing(mask)
    size = (max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1))
    resized = F.interpolate(padded, size=size, mode="bilinear", align_corners=False)[0, 0]
    return top, left, resized[top - y1 : bottom - y1, left - x1 : right - x1] > threshold


def _paste_grid(
    mask: Tensor, box: Tensor, *, height: int, width: int, threshold: float
) -> tuple[int, int, Tensor]:
    x1, y1, x2, y2 = box.float().tolist()
    # One pixel around the box: the outermost half cells of the mask fade out there.
    left, right = max(math.floor(x1) - 1, 0), min(math.ceil(x2) + 1, width)
    top, bottom = max(math.floor(y1) - 1, 0), min(math.ceil(y2) + 1, height)
    if bottom <= top or right <= left or x2 <= x1 or y2 <= y1:
        return _nothing(mask)
    box = box.float()
    x = torch.arange(left, right, device=mask.device, dtype=torch.float32) + 0.5
    y = torch.arange(top, bottom, device=mask.device, dtype=torch.float32) + 0.5
    x = (x - box[0]) / (box[2] - box[0]) * 2 - 1  # -1 to 1 over the box
    y = (y - box[1]) / (box[3] - box[1]) * 2 - 1
    # In strips: a window of 10,000 x 10,000 pixels would take 1.3 GB at once.
    strips = [
        _sample(mask, x, rows) >= threshold for rows in y.split(max(1, _MOST_PIXELS // len(x)))
    ]
    return top, left, torch.cat(strips)


def _sample(mask: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """A mask (M, M) at columns (w,) and rows (h,), each from -1 to 1 over the mask: (h, w)."""
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)
    return F.grid_sample(mask.float()[None, None], grid[None], align_corners=False)[0, 0]


def _nothing(mask: Tensor) -> tuple[int, int, Tensor]:
    return 0, 0, mask.new_zeros((0, 0), dtype=torch.bool)


def paste_masks(
    masks: Tensor,
    boxes: Tensor,
    *,
    height: int,
    width: int,
    threshold: float = 0.5,
    padding: int = 1,
    style: PasteStyle = "integer",
) -> Tensor:
    """Place predicted masks into the image, as `paste_window` does for one.

    Args:
        masks: (N, M, M) probabilities.
        boxes: (N, 4) xyxy in image pixels.
        height: H.
        width: W.
        threshold: see `paste_window`.
        padding: see `paste_window`.
        style: see `paste_window`.

    Returns:
        (N, H, W) bool.
    """
    result = masks.new_zeros((len(masks), height, width), dtype=torch.bool)
    boxes = boxes.float()
    for canvas, mask, box in zip(result, masks, boxes, strict=True):
        top, left, window = paste_window(
            mask, box, height=height, width=width, threshold=threshold, padding=padding, style=style
        )
        canvas[top : top + window.shape[0], left : left + window.shape[1]] = window
    return result


@torch.library.custom_op("maskrcnn::rasterize_in_boxes", mutates_args=())
def rasterize_in_boxes(
    points: Tensor,
    part_starts: Tensor,
    instance_starts: Tensor,
    bits: Tensor,
    windows: Tensor,
    boxes: Tensor,
    instances: Tensor,
    valid: Tensor,
    size: int,
) -> Tensor:
    """Target masks of regions, drawn only inside each region (see `structures.padded.PackedMasks`).

    Args:
        points: (P, 2) float32, vertices of all polygon parts.
        part_starts: (Q + 1,) int64, where each part begins in `points`.
        instance_starts: (I + 1,) int64, where each instance begins among the parts.
        bits: (T,) uint8, bitmaps of the instances that are no polygons, each cut to its window.
        windows: (I, 5) int64: x, y, width, height of the bitmap and where it begins in `bits` (-1: none).
        boxes: (R, 4) float32 xyxy.
        instances: (R,) int64, whose mask is wanted.
        valid: (R,) bool; other rows stay zero.
        size: M.

    Returns:
        (R, M, M) float32 of zeros and ones.
    """
    is_valid, which, window, parts, firsts = _to_numpy(
        valid.long(), instances, windows, part_starts, instance_starts
    )
    xyxy, vertices = _to_numpy(boxes.detach().float(), points)
    rows = is_valid.nonzero()[0]
    is_bitmap = window[which[rows], 4] >= 0 if len(rows) else np.zeros(0, dtype=bool)
    polygon_rows, bitmap_rows = rows[~is_bitmap], rows[is_bitmap]
    drawn = np.zeros((len(boxes), size, size), dtype=np.uint8)
    if len(polygon_rows):
        drawn[polygon_rows] = _rasterize_polygons(
            vertices, parts, firsts, xyxy[polygon_rows], which[polygon_rows], size
        )
    output = torch.from_numpy(drawn).to(device=boxes.device, dtype=torch.float32)
    for row in bitmap_rows:
        # Where the bitmaps are: to fetch each would wait for a GPU once per region.
        output[row] = _resample_bitmap(bits, window[which[row]].tolist(), xyxy[row].tolist(), size)
    return output


@rasterize_in_boxes.register_fake
def _(
    points: Tensor,
    part_starts: Tensor,
    instance_starts: Tensor,
    bits: Tensor,
    windows: Tensor,
    boxes: Tensor,
    instances: Tensor,
    valid: Tensor,
    size: int,
) -> Tensor:
    return boxes.new_empty((boxes.shape[0], size, size), dtype=torch.float32)


def _to_numpy(*tensors: Tensor) -> list[np.ndarray]:
    """Tensors of one type, brought to the CPU in one piece."""
    flat = torch.cat([tensor.flatten() for tensor in tensors]).cpu()
    parts = flat.split([tensor.numel() for tensor in tensors])
    return [part.view(own.shape).numpy() for part, own in zip(parts, tensors, strict=True)]


def _rasterize_polygons(
    points: np.ndarray,
    part_starts: np.ndarray,
    instance_starts: np.ndarray,
    boxes: np.ndarray,
    instances: np.ndarray,
    size: int,
) -> np.ndarray:
    """(R, M, M) uint8; all parts of all regions go through the rasteriser in one call."""
    parts: list[np.ndarray] = []
    owner: list[int] = []
    for row, instance in enumerate(instances):
        x1, y1, x2, y2 = boxes[row]
        # Detectron: the region's size is x2 - x1, without + 1.
        ratio = np.float32(size) / np.maximum(
            np.array([x2 - x1, y2 - y1], dtype=np.float32), np.float32(MIN_SIDE)
        )
        for part in range(instance_starts[instance], instance_starts[instance + 1]):
            outline = points[part_starts[part] : part_starts[part + 1]]
            scaled = (outline - np.array([x1, y1], dtype=np.float32)) * ratio
            parts.append(scaled.astype(np.float64).ravel())
            owner.append(row)
    output = np.zeros((len(instances), size, size), dtype=np.uint8)
    if parts:
        drawn = mask_util.decode(mask_util.frPyObjects(parts, size, size))  # (M, M, parts)
        np.maximum.at(output, np.array(owner), drawn.transpose(2, 0, 1))
    return output


def _resample_bitmap(bits: Tensor, window: list[int], box: list[float], size: int) -> Tensor:
    """(M, M) bool: the bitmap inside the box, resized; a cell is set where at least half of it is."""
    left, top, width, height, start = window
    bitmap = bits[start : start + width * height].view(height, width)
    x1, y1, x2, y2 = (round(value) for value in box)
    x2, y2 = max(x2, x1 + 1), max(y2, y1 + 1)
    crop = bits.new_zeros((y2 - y1, x2 - x1), dtype=torch.float32)
    ya, yb = max(y1, top), min(y2, top + height)
    xa, xb = max(x1, left), min(x2, left + width)
    if ya < yb and xa < xb:
        crop[ya - y1 : yb - y1, xa - x1 : xb - x1] = bitmap[
            ya - top : yb - top, xa - left : xb - left
        ]
    resized = F.interpolate(crop[None, None], size=(size, size), mode="bilinear", antialias=True)
    return resized[0, 0] >= 0.5
