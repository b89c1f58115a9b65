"""Masks of objects as run lengths (COCO's RLE): pasting predictions into them, decoding, drawing polygons.

An RLE counts pixels column by column, zeros first, so its size follows the outline and not the image.

N: objects.    M: side of a predicted mask.    H, W: image height and width.    h, w: those of a window in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from pycocotools import mask as mask_util
from torch import Tensor

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.layers.masks import paste_window
from maskrcnn_benchmark.numerics import PasteStyle
from maskrcnn_benchmark.structures.segmentation_mask import PolygonList, SegmentationMask
from maskrcnn_benchmark.structures.sizes import HeightWidth

BoolArray = NDArray[np.bool_]

_codec: Any = mask_util  # it declares no types


class RLE(TypedDict):
    """A mask of the whole image, ready for JSON and for pycocotools.

    Attributes:
        size: [height, width].
        counts: compressed run lengths, as pycocotools writes them, in ASCII.
    """

    size: list[int]
    counts: str


def encode_mask(mask: BoolArray) -> RLE:
    """Run lengths of a mask (H, W); anything but zero belongs to the object."""
    if mask.ndim != 2:
        raise ShapeError(f"a mask must have shape (H, W), got {mask.shape}")
    return _to_rle(_codec.encode(np.asfortranarray(mask != 0, dtype=np.uint8)))


def decode_mask(rle: RLE) -> BoolArray:
    """The mask (H, W) of run lengths."""
    mask: BoolArray = _codec.decode(rle).astype(np.bool_)
    return mask


def area_of(rle: RLE) -> int:
    """Pixels of a mask."""
    return int(_codec.area(rle))


def box_around(rle: RLE) -> tuple[int, int, int, int]:
    """Left, top, width and height of a mask's pixels; zeros where it has none."""
    left, top, width, height = (int(value) for value in _codec.toBbox(rle))
    return left, top, width, height


def encode_window(window: BoolArray, *, top: int, left: int, height: int, width: int) -> RLE:
    """Run lengths of a mask that is empty outside a window, without drawing the whole of it.

    Args:
        window: (h, w), lies inside the image.
        top: row of the window's first pixel.
        left: column of the window's first pixel.
        height: H.
        width: W.
    """
    rows, columns = window.shape
    # Every column of the window between two zeros: runs begin and end inside their column.
    padded = np.zeros((columns, rows + 2), dtype=np.bool_)
    padded[:, 1:-1] = window.T
    flat = padded.ravel()
    changes = np.flatnonzero(
        flat[1:] != flat[:-1]
    )  # before the first and at the last pixel of each run
    column, row = np.divmod(changes, rows + 2)
    bounds = ((left + column) * height + top + row).reshape(-1, 2)  # begin and end of each run
    is_joined = bounds[1:, 0] == bounds[:-1, 1]  # down to the last row and on from the first one
    begins = bounds[np.concatenate(([True], ~is_joined)), 0] if len(bounds) else bounds[:, 0]
    ends = bounds[np.concatenate((~is_joined, [True])), 1] if len(bounds) else bounds[:, 1]
    edges = np.stack((begins, ends), axis=1).ravel()
    counts = np.diff(edges, prepend=0)
    last = int(edges[-1]) if len(edges) else 0
    if last < height * width:
        counts = np.append(counts, height * width - last)
    return normalize_rle({"size": [height, width], "counts": counts.tolist()})


def encode_predictions(
    masks: Tensor,
    boxes: Tensor,
    *,
    height: int,
    width: int,
    threshold: float = 0.5,
    padding: int = 1,
    style: PasteStyle = "integer",
) -> list[RLE]:
    """Paste predicted masks into their boxes, one at a time and straight to run lengths.

    What is held in memory is one box's window, whatever the number of objects.

    Args:
        masks: (N, M, M) probabilities.
        boxes: (N, 4) xyxy in image pixels.
        height: H.
        width: W.
        threshold: pixels above it belong to the object; whether those at it do, see `layers.masks.paste_window`.
        padding: see `layers.masks.paste_window`.
        style: see `layers.masks.paste_window`.
    """
    # On the CPU also when the network ran elsewhere: the grids are small, and each window would have to come back.
    masks, boxes = masks.detach().float().cpu(), boxes.detach().float().cpu()
    encoded = []
    for mask, box in zip(masks, boxes, strict=True):
        top, left, window = paste_window(
            mask, box, height=height, width=width, threshold=threshold, padding=padding, style=style
        )
        encoded.append(
            encode_window(window.numpy(), top=top, left=left, height=height, width=width)
        )
    return encoded


def encode_network_masks(
    masks: Tensor,
    boxes: Tensor,
    *,
    image_size: HeightWidth,
    threshold: float,
    padding: int,
    style: PasteStyle = "integer",
) -> list[RLE]:
    """Run lengths of what the network put into its field `mask`.

    Args:
        masks: (N, 1, M, M) probabilities in each box, or bool masks of the network's whole input (N, 1, h, w)
            where they have been pasted there already.
        boxes: (N, 4) xyxy in pixels of the original image.
        image_size: height and width of the original image.
        threshold: see `encode_predictions`.
        padding: see `encode_predictions`.
        style: see `encode_predictions`.
    """
    height, width = image_size
    if masks.is_floating_point():
        return encode_predictions(
            masks[:, 0],
            boxes,
            height=height,
            width=width,
            threshold=threshold,
            padding=padding,
            style=style,
        )
    # Detectron: pasted once more, into the box. Here pasted masks are only scaled, as the boxes are.
    encoded = []
    for mask in masks[:, 0].cpu():
        if mask.shape != image_size:
            mask = F.interpolate(mask[None, None].float(), size=image_size, mode="bilinear")[0, 0]
        encoded.append(encode_mask(mask.numpy() > 0.5))
    return encoded


def encode_polygons(polygons: Iterable[Sequence[float]], *, height: int, width: int) -> RLE:
    """Run lengths of one object given as polygons.

    Args:
        polygons: each x, y, x, y, ...; those with fewer than three points hold no pixel.
        height: H.
        width: W.
    """
    parts = [[float(value) for value in part] for part in polygons if len(part) >= 6]
    if not parts:
        return empty_rle(height=height, width=width)
    return _to_rle(_codec.merge(_codec.frPyObjects(parts, height, width)))


def encode_targets(masks: SegmentationMask) -> list[RLE]:
    """Run lengths of ground-truth masks, polygons or bitmaps."""
    if not isinstance(masks.instances, PolygonList):
        return [encode_mask(mask.cpu().numpy()) for mask in masks.instances.masks]
    width, height = (int(side) for side in masks.size)
    return [
        encode_polygons([part.tolist() for part in instance.polygons], height=height, width=width)
        for instance in masks.instances.polygons
    ]


def empty_rle(*, height: int, width: int) -> RLE:
    """Run lengths of a mask without a pixel."""
    return normalize_rle({"size": [height, width], "counts": [height * width]})


def normalize_rle(rle: Mapping[str, Any]) -> RLE:
    """An RLE in whatever form COCO files and pycocotools have it: counts as a list, bytes or text."""
    height, width = rle["size"]
    counts = rle["counts"]
    if isinstance(counts, str | bytes):
        return _to_rle({"size": [height, width], "counts": counts})
    uncompressed = {"size": [height, width], "counts": counts}
    return _to_rle(_codec.frPyObjects(uncompressed, height, width))


def _to_rle(rle: Mapping[str, Any]) -> RLE:
    counts = rle["counts"]
    height, width = rle["size"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    return RLE(size=[int(height), int(width)], counts=text)
