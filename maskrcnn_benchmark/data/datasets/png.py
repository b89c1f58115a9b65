"""PNG files of 16 bits per channel, of which PIL keeps only 8 where they are coloured.

H, W, C: height, width, channels.    B: bytes per pixel.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MARK = b"\x89PNG\r\n\x1a\n"
# Colour type -> channels: grey, RGB, grey and alpha, RGB and alpha.
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
_SUB, _UP, _AVERAGE, _PAETH = 1, 2, 3, 4


def has_16_bits(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as a PNG of 16 bits per channel does."""
    with open(path, "rb") as file:
        head = file.read(26)
    return len(head) == 26 and head.startswith(_MARK) and head[24] == 16


def read_png_16(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Pixels (H, W, C), uint16, of a file for which `has_16_bits` holds.

    Raises:
        ValueError: if it is damaged, or interlaced.
        OSError: if it cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read()
    width, height, _, colour, _, _, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    if interlace or colour not in _CHANNELS:
        raise ValueError("it is interlaced, or of a kind that does not exist; save it again")
    channels = _CHANNELS[colour]
    try:
        raw = zlib.decompress(b"".join(_data_chunks(data)))
        lines = np.frombuffer(raw, np.uint8).reshape(height, 1 + width * channels * 2)
    except (zlib.error, struct.error, ValueError) as error:
        raise ValueError(f"it is damaged or cut off ({error})") from error
    pixels = _undo_filters(lines[:, 0], lines[:, 1:].reshape(height, width, channels * 2))
    return np.ascontiguousarray(pixels).view(">u2").astype(np.uint16)


def _data_chunks(data: bytes) -> Iterator[bytes]:
    position = len(_MARK)
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"IDAT":
            yield data[position + 8 : position + 8 + length]
        position += 12 + length


def _undo_filters(kinds: NDArray[np.uint8], lines: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Add to every pixel what its line's filter predicted from those to the left and above.

    A pixel needs its left, upper and upper left neighbours, so all pixels of a diagonal can be done at once.

    Args:
        kinds: (H,) filter of each line.
        lines: (H, W, B).
    """
    height, width, size = lines.shape
    done = np.zeros(
        (height + 1, width + 1, size), dtype=np.int16
    )  # a border of zeros above and left
    for step in range(height + width - 1):
        row = np.arange(max(0, step - width + 1), min(height, step + 1))
        column = step - row
        left, up, corner = done[row + 1, column], done[row, column + 1], done[row, column]
        kind = kinds[row][:, None]
        estimate = np.select(
            [kind == _SUB, kind == _UP, kind == _AVERAGE, kind == _PAETH],
            [left, up, (left + up) // 2, _paeth(left, up, corner)],
            default=0,
        )
        done[row + 1, column + 1] = (lines[row, column] + estimate) & 0xFF
    return done[1:, 1:].astype(np.uint8)


def _paeth(
    left: NDArray[np.int16], up: NDArray[np.int16], corner: NDArray[np.int16]
) -> NDArray[np.int16]:
    """Of the three neighbours the one nearest to left + up - corner (PNG specification, 9.4)."""
    estimate = left + up - corner
    to_left, to_up, to_corner = (abs(estimate - each) for each in (left, up, corner))
    nearest_up = np.where(to_up <= to_corner, up, corner)
    return np.where((to_left <= to_up) & (to_left <= to_corner), left, nearest_up)
