"""Keypoints between the image and the heat maps of a region: targets of training, decoding of predictions.

R: regions.    K: keypoints.    S: side of a heat map.    v: visibility, 0 where a keypoint is not annotated.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Heat maps are enlarged so many pixels at a time (all keypoints together), which bounds the memory: 16 MiB.
MAX_PIXELS = 2**22

# Keys' cubic convolution with the constant that OpenCV and torch use.
_CUBIC = -0.75


def heat_map_targets(keypoints: Tensor, boxes: Tensor, *, size: int) -> tuple[Tensor, Tensor]:
    """The cell of a heat map over each box in which each keypoint lies.

    Detectron: the box is x2 - x1 wide, without + 1; a keypoint exactly on the right or lower edge belongs to the
    last cell.

    Args:
        keypoints: (..., K, 3) x, y, v in the pixels of the boxes.
        boxes: (..., 4) xyxy.
        size: S.

    Returns:
        y * S + x of the cell (..., K) int64 (0 where there is none), and whether there is one: the keypoint is
        annotated and inside the box.
    """
    corner, end = boxes[..., None, :2], boxes[..., None, 2:]  # (..., 1, 2)
    extent = end - corner
    scale = size / torch.where(extent == 0, 1.0, extent)
    points = keypoints[..., :2]
    cells = ((points - corner) * scale).floor().to(torch.int64)
    cells = torch.where(points == end, size - 1, cells)
    valid = ((cells >= 0) & (cells < size)).all(dim=-1) & (keypoints[..., 2] > 0)
    return torch.where(valid, cells[..., 1] * size + cells[..., 0], 0), valid


def keypoints_inside(keypoints: Tensor, boxes: Tensor) -> Tensor:
    """Which annotated keypoints (..., K, 3) lie inside their boxes (..., 4), edges included: (..., K) bool."""
    x, y, visibility = keypoints.unbind(dim=-1)
    x1, y1, x2, y2 = (side[..., None] for side in boxes.unbind(dim=-1))
    return (x >= x1) & (x <= x2) & (y >= y1) & (y <= y2) & (visibility > 0)


@torch.library.custom_op("maskrcnn::decode_heat_maps", mutates_args=())
def decode_heat_maps(heat_maps: Tensor, boxes: Tensor, valid: Tensor) -> Tensor:
    """The best place of each keypoint in its region, as in Detectron.

    Each heat map is enlarged to the region's size in whole pixels (rounded up) by cubic interpolation, half-pixel
    centres and repeated borders; the best pixel's centre is scaled back to the region. One operator with a fixed
    result shape, so that it can be compiled whole and exported.

    Args:
        heat_maps: (R, K, S, S) logits.
        boxes: (R, 4) xyxy.
        valid: (R,) bool; other rows stay zero.

    Returns:
        (R, K, 3) float32: x, y and the enlarged heat map's value there.
    """
    output = heat_maps.new_zeros((*heat_maps.shape[:2], 3), dtype=torch.float32)
    if not heat_maps.shape[1]:
        return output
    boxes = boxes.detach().float()
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
    pixels = sides.ceil()
    # One wait for the device, not one per region.
    sizes = torch.where(valid[:, None], pixels, 0.0).to(torch.int64).tolist()
    for row, (width, height) in enumerate(sizes):
        if not width:
            continue
        value, index = _best_pixel(heat_maps[row].detach(), height, width)
        place = torch.stack((index % width, index // width), dim=1)  # (K, 2)
        output[row, :, :2] = (place + 0.5) * (sides[row] / pixels[row]) + boxes[row, :2]
        output[row, :, 2] = value
    return output


@decode_heat_maps.register_fake
def _(heat_maps: Tensor, boxes: Tensor, valid: Tensor) -> Tensor:
    return heat_maps.new_empty((heat_maps.shape[0], heat_maps.shape[1], 3), dtype=torch.float32)


def _best_pixel(maps: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Largest value and flat index, both (K,), of maps (K, S, S) enlarged to (height, width)."""
    count, side = maps.shape[0], maps.shape[-1]
    # On a GPU in float64, which neither autocast nor TF32 touches: neighbouring pixels differ in the last digits.
    maps = maps.double() if maps.is_cuda else maps.float()
    rows, columns = (
        cubic_weights(side, new_side, device=maps.device, dtype=maps.dtype)
        for new_side in (height, width)
    )
    best: tuple[Tensor, Tensor] | None = None
    with torch.autocast(maps.device.type, enabled=False):
        # Two small products of matrices instead of 16 reads per pixel: three times as fast on a CPU.
        wide = maps @ columns.T  # (K, S, width)
        step = max(1, MAX_PIXELS // (count * width))
        for start in range(0, height, step):
            piece = (rows[start : start + step] @ wide).flatten(1)  # (K, rows * width)
            value, index = piece.max(dim=1)
            index = index + start * width
            if best is not None:
                # Only where larger: the first of equal pixels counts.
                is_better = value > best[0]
                value = torch.where(is_better, value, best[0])
                index = torch.where(is_better, index, best[1])
            best = value, index
    assert best is not None
    return best


def cubic_weights(
    size: int,
    new_size: int,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Matrix (new_size, size) that resizes by cubic interpolation (half-pixel centres, borders repeated).

    The numbers are those of `torch.nn.functional.interpolate(mode="bicubic", align_corners=False)`.
    """
    # In float64, which not every accelerator has; on a GPU without a copy that would wait for it.
    place = torch.device(device) if torch.device(device).type == "cuda" else torch.device("cpu")
    pixels = torch.arange(new_size, dtype=torch.float64, device=place)
    source = (pixels + 0.5) * (size / new_size) - 0.5
    first = source.floor()
    offsets = torch.arange(-1, 3, device=place)
    distance = ((source - first)[:, None] - offsets).abs()  # (new_size, 4)
    near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance * distance + 1
    far = (((distance - 5) * distance + 8) * distance - 4) * _CUBIC
    weights = torch.where(distance <= 1, near, far)
    cells = (first.long()[:, None] + offsets).clamp(0, size - 1)
    is_there = cells[:, :, None] == torch.arange(size, device=place)  # (new_size, 4, size)
    matrix = torch.where(is_there, weights[:, :, None], 0.0).sum(dim=1)
    return matrix.to(device=device, dtype=dtype)


def best_probability(heat_maps: Tensor, values: Tensor) -> Tensor:
    """detectron2's score of a keypoint: exp(value) over the sum of exp over the heat map as it was predicted.

    Args:
        heat_maps: (R, K, S, S) logits.
        values: (R, K), the largest value of each enlarged heat map.

    Returns:
        (R, K); above 1 is possible for a very sharp peak between cells.
    """
    return (values - heat_maps.flatten(2).logsumexp(dim=2)).exp()
