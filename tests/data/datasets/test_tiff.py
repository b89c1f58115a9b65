from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark.data.datasets.tiff import read_tiff


def write_tiff(
    path: Path,
    pixels: np.ndarray,
    *,
    order: str = "<",
    planar: bool = False,
    deflate: bool = False,
    difference: bool = False,
    tile: int = 0,
    rows: int = 3,
    compression: int | None = None,
) -> None:
    """A TIFF of one page, of the fewest tags."""
    height, width, samples = pixels.shape
    values = pixels.astype(pixels.dtype.newbyteorder(order))
    planes = [values[..., c : c + 1] for c in range(samples)] if planar else [values]
    blocks = []
    for plane in planes:
        if tile:
            padded = np.pad(plane, ((0, -height % tile), (0, -width % tile), (0, 0)))
            for y in range(0, padded.shape[0], tile):
                blocks += [padded[y : y + tile, x : x + tile] for x in range(0, width, tile)]
        else:
            blocks += [plane[y : y + rows] for y in range(0, height, rows)]
    data = []
    for block in blocks:
        if difference:
            first = np.zeros_like(block[:, :1])
            native = block.astype(pixels.dtype)
            block = np.diff(native, axis=1, prepend=first.astype(pixels.dtype)).astype(block.dtype)
        raw = block.tobytes()
        data.append(zlib.compress(raw) if deflate else raw)
    body, offsets = b"", []
    for raw in data:
        offsets.append(8 + len(body))
        body += raw + b"\0" * (len(raw) % 2)
    tags = {
        256: (4, (width,)),
        257: (4, (height,)),
        258: (3, (pixels.dtype.itemsize * 8,) * samples),
        259: (3, (compression or (8 if deflate else 1),)),
        262: (3, (1,)),
        277: (3, (samples,)),
        284: (3, (2 if planar else 1,)),
        317: (3, (2 if difference else 1,)),
    }
    if tile:
        tags |= {322: (4, (tile,)), 323: (4, (tile,))}
        tags |= {324: (4, tuple(offsets)), 325: (4, tuple(map(len, data)))}
    else:
        tags |= {273: (4, tuple(offsets)), 278: (4, (rows,)), 279: (4, tuple(map(len, data)))}
    directory = struct.pack(f"{order}H", len(tags))
    extra, place = b"", 8 + len(body) + 2 + 12 * len(tags) + 4
    for tag, (kind, numbers) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        if len(packed) > 4:
            where = struct.pack(f"{order}I", place + len(extra))
            extra += packed
            packed = where
        directory += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(f"{order}HI", 42, 8 + len(body))
    path.write_bytes(head + body + directory + struct.pack(f"{order}I", 0) + extra)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (7, 10, 5)).astype(np.uint16)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"deflate": True}, {"deflate": True, "difference": True}, {"tile": 4}]
)
@pytest.mark.parametrize("bits", [8, 16])
def test_round_trip(
    pixels: np.ndarray, order: str, planar: bool, options: dict, bits: int, tmp_path: Path
) -> None:
    if bits == 8:
        pixels = (pixels >> 8).astype(np.uint8)
    write_tiff(tmp_path / "image.tif", pixels, order=order, planar=planar, **options)
    found = read_tiff(tmp_path / "image.tif")
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, pixels)


def test_what_pil_writes(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (9, 8, 3)).astype(np.uint8)
    for compression in ("raw", "tiff_adobe_deflate"):
        Image.fromarray(colours).save(tmp_path / "image.tif", compression=compression)
        np.testing.assert_array_equal(read_tiff(tmp_path / "image.tif"), colours)


def test_pages_are_further_channels(pixels: np.ndarray, tmp_path: Path) -> None:
    pages = [Image.fromarray(pixels[..., channel]) for channel in range(5)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read_tiff(tmp_path / "stack.tif"), pixels)


def test_refusals(pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    write_tiff(path, pixels, compression=5)
    with pytest.raises(ValueError, match=r"compression \(LZW\) is not read"):
        read_tiff(path)
    write_tiff(path, pixels.astype(np.uint32))
    with pytest.raises(ValueError, match="32"):
        read_tiff(path)
    write_tiff(path, pixels)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(ValueError, match="damaged or cut off"):
        read_tiff(path)
    path.write_bytes(b"GIF89a" + whole)
    with pytest.raises(ValueError, match="not a TIFF"):
        read_tiff(path)
