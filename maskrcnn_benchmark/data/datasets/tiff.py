"""Baseline TIFF files with any number of channels of 8 or 16 bits, which PIL does not read.

Strips or tiles, interleaved or planar, uncompressed or deflated, several pages of one size as further channels. What
else a TIFF may be (LZW, JPEG, floating point) is refused by name.

H, W, C: height, width, channels.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _OFFSETS, _SAMPLES, _ROWS, _COUNTS = (
    256, 257, 258, 259, 273, 277, 278, 279,
)  # fmt: skip
_PLANAR, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS, _SAMPLE_FORMAT = (
    284, 317, 322, 323, 324, 325, 339,
)  # fmt: skip
# TIFF's types that counts, offsets and sizes come in: byte, short, long.
_TYPES = {1: "B", 3: "H", 4: "I"}
_NONE, _DEFLATE = 1, (8, 32946)
_COMPRESSION_NAMES = {5: "LZW", 6: "JPEG", 7: "JPEG", 32773: "PackBits", 50000: "Zstandard"}
_MAX_PAGES = 1024


@dataclass(frozen=True)
class _Blocks:
    """How the pixels of a page are cut: size of a block, and where each is in the file."""

    height: int
    width: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]


def read_tiff(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Pixels (H, W, C), uint8 or uint16.

    Raises:
        ValueError: if it is damaged, or not of the kind described above.
        OSError: if it cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read()
    try:
        pages = [_read_page(data, order, tags) for order, tags in _read_directories(data)]
    except (struct.error, IndexError, zlib.error, KeyError) as error:
        raise ValueError(f"it is damaged or cut off ({error})") from error
    if len({page.shape[:2] for page in pages}) != 1 or len({page.dtype for page in pages}) != 1:
        raise ValueError("its pages are of different sizes or types")
    return np.concatenate(pages, axis=2)


def _read_directories(data: bytes) -> list[tuple[str, dict[int, tuple[int, ...]]]]:
    """Byte order and tags of every page."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or struct.unpack(f"{order}H", data[2:4])[0] != 42:
        raise ValueError("it is not a TIFF file (or a BigTIFF, which is not read)")
    (position,) = struct.unpack(f"{order}I", data[4:8])
    directories: list[tuple[str, dict[int, tuple[int, ...]]]] = []
    while position and len(directories) < _MAX_PAGES:
        (entries,) = struct.unpack_from(f"{order}H", data, position)
        tags: dict[int, tuple[int, ...]] = {}
        for index in range(entries):
            entry = position + 2 + 12 * index
            tag, kind, count = struct.unpack_from(f"{order}HHI", data, entry)
            if kind in _TYPES:
                values = f"{order}{count}{_TYPES[kind]}"
                place = entry + 8
                if struct.calcsize(values) > 4:
                    (place,) = struct.unpack_from(f"{order}I", data, place)
                tags[tag] = struct.unpack_from(values, data, place)
        directories.append((order, tags))
        (position,) = struct.unpack_from(f"{order}I", data, position + 2 + 12 * entries)
    if not directories:
        raise ValueError("it has no page")
    return directories


def _read_page(data: bytes, order: str, tags: dict[int, tuple[int, ...]]) -> NDArray[Any]:
    height, width = tags[_HEIGHT][0], tags[_WIDTH][0]
    samples = tags.get(_SAMPLES, (1,))[0]
    bits = set(tags.get(_BITS, (1,)))
    if bits not in ({8}, {16}) or set(tags.get(_SAMPLE_FORMAT, (1,))) != {1}:
        raise ValueError(f"its channels have {sorted(bits)} bits or are not unsigned integers")
    dtype = np.dtype(np.uint8 if bits == {8} else f"{order}u2")
    is_planar = tags.get(_PLANAR, (1,))[0] == 2
    per_block = 1 if is_planar else samples
    blocks = _find_blocks(tags, height, width)
    across, down = -(-width // blocks.width), -(-height // blocks.height)
    canvas = np.zeros((down * blocks.height, across * blocks.width, samples), dtype=dtype)
    for number, (offset, count) in enumerate(zip(blocks.offsets, blocks.counts, strict=True)):
        plane, place = divmod(number, across * down)
        row, column = (place // across) * blocks.height, (place % across) * blocks.width
        rows = blocks.height if _TILE_OFFSETS in tags else min(blocks.height, height - row)
        raw = _decompress(data[offset : offset + count], tags)
        block = np.frombuffer(raw, dtype, rows * blocks.width * per_block)
        block = block.reshape(rows, blocks.width, per_block)
        if tags.get(_PREDICTOR, (1,))[0] == 2:
            block = np.cumsum(block, axis=1, dtype=dtype.newbyteorder("="))
        channels = slice(plane, plane + 1) if is_planar else slice(None)
        canvas[row : row + rows, column : column + blocks.width, channels] = block
    return canvas[:height, :width].astype(dtype.newbyteorder("="))


def _find_blocks(tags: dict[int, tuple[int, ...]], height: int, width: int) -> _Blocks:
    if _TILE_OFFSETS in tags:
        size = (tags[_TILE_HEIGHT][0], tags[_TILE_WIDTH][0])
        return _Blocks(*size, tags[_TILE_OFFSETS], tags[_TILE_COUNTS])
    rows = min(tags.get(_ROWS, (height,))[0], height)
    return _Blocks(rows, width, tags[_OFFSETS], tags[_COUNTS])


def _decompress(block: bytes, tags: dict[int, tuple[int, ...]]) -> bytes:
    compression = tags.get(_COMPRESSION, (_NONE,))[0]
    if compression in _DEFLATE:
        return zlib.decompress(block)
    if compression != _NONE:
        name = _COMPRESSION_NAMES.get(compression, f"number {compression}")
        raise ValueError(
            f"its compression ({name}) is not read; save it uncompressed, deflated, or as .npy"
        )
    return block
