"""Parts of masks, read from and written to run lengths without drawing the whole image.

H, W: image height and width.    h, w: those of a window in it.    R: runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as mask_util

from maskrcnn_benchmark.results.masks import RLE, BoolArray, box_around, empty_rle, encode_window

_codec: Any = mask_util  # it declares no types


def run_lengths(rle: RLE) -> NDArray[np.int64]:
    """The runs (R,) of a compressed RLE: zeros first, then ones and zeros in turn.

    Each number is written in characters of five bits, the lowest first, with a sixth bit where more follow; from the
    fourth on it is the difference to the number two before.
    """
    codes = np.frombuffer(rle["counts"].encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    if not len(codes):
        return np.zeros(0, dtype=np.int64)
    is_last = (codes & 0x20) == 0
    starts = np.flatnonzero(np.concatenate(([True], is_last[:-1])))
    place = np.arange(len(codes)) - np.repeat(starts, np.diff(np.append(starts, len(codes))))
    values = np.add.reduceat((codes & 0x1F) << (5 * place), starts)
    last = np.flatnonzero(is_last)
    # The highest bit of the last character is the sign.
    negative = (codes[last] & 0x10) != 0
    values[negative] -= np.int64(1) << (5 * (place[last][negative] + 1))
    # Sums of every other number, from the second on.
    for first in (1, 2):
        values[first::2] = np.cumsum(values[first::2])
    return values


def decode_window(rle: RLE, *, top: int, left: int, height: int, width: int) -> BoolArray:
    """The part (h, w) of a mask whose first pixel is in row `top` and column `left`; it lies inside the image."""
    rows = rle["size"][0]
    ends = np.cumsum(run_lengths(rle))
    begin, end = left * rows, (left + width) * rows
    edges = np.clip(ends, begin, end) - begin
    # Every end of a run turns zeros into ones or back; several at one place (before the window) undo each other.
    turns = np.zeros(width * rows + 1, dtype=np.bool_)
    np.logical_xor.at(turns, edges, True)
    columns = np.logical_xor.accumulate(turns[:-1])
    return columns.reshape(width, rows).T[top : top + height]


def cut(rle: RLE) -> tuple[int, int, BoolArray]:
    """Row and column of a mask's first pixels, and the smallest window (h, w) that holds all of them."""
    left, top, width, height = box_around(rle)
    return top, left, decode_window(rle, top=top, left=left, height=height, width=width)


def crop_rle(rle: RLE, *, top: int, left: int, height: int, width: int) -> RLE:
    """The mask of a part of the image."""
    window = decode_window(rle, top=top, left=left, height=height, width=width)
    return encode_window(window, top=0, left=0, height=height, width=width)


def move_rle(rle: RLE, *, top: int, left: int, height: int, width: int) -> RLE:
    """The mask of a part of an image as one of the whole image (H, W), in which the part begins at (top, left)."""
    row, column, window = cut(rle)
    if not window.size:
        return empty_rle(height=height, width=width)
    return encode_window(window, top=top + row, left=left + column, height=height, width=width)


def unite(masks: Sequence[RLE]) -> RLE:
    """The pixels that belong to any of some masks of one image."""
    merged = _codec.merge(list(masks))
    height, width = merged["size"]
    return RLE(size=[int(height), int(width)], counts=merged["counts"].decode("ascii"))


def intersect(masks: Sequence[RLE]) -> RLE:
    """The pixels that belong to all of some masks of one image."""
    merged = _codec.merge(list(masks), intersect=True)
    height, width = merged["size"]
    return RLE(size=[int(height), int(width)], counts=merged["counts"].decode("ascii"))
