from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark.data.datasets.png import has_16_bits, read_png_16


def encode(pixels: np.ndarray, *, filters: list[int]) -> bytes:
    """A PNG whose lines use these filters in turn; every filter written out plainly, byte by byte."""
    height, width, channels = pixels.shape
    lines = pixels.astype(">u2").tobytes()
    size, length = 2 * channels, 2 * channels * width
    rows = [lines[i * length : (i + 1) * length] for i in range(height)]
    raw = b""
    for number, row in enumerate(rows):
        kind = filters[number % len(filters)]
        above = rows[number - 1] if number else bytes(length)
        raw += bytes([kind])
        for i, value in enumerate(row):
            a = row[i - size] if i >= size else 0
            b, c = above[i], above[i - size] if i >= size else 0
            p = a + b - c
            nearest = min((a, b, c), key=lambda each: abs(p - each))
            raw += bytes([(value - (0, a, b, (a + b) // 2, nearest)[kind]) % 256])
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    packed = zlib.compress(raw)
    half = len(packed) // 2
    chunks = [(b"IHDR", header), (b"IDAT", packed[:half]), (b"IDAT", packed[half:]), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(7, 5), (3, 11), (1, 1)])
def test_all_filters(channels: int, shape: tuple[int, int], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (*shape, channels)).astype(np.uint16)
    path = tmp_path / "image.png"
    path.write_bytes(encode(pixels, filters=[0, 1, 2, 3, 4]))
    assert has_16_bits(path)
    np.testing.assert_array_equal(read_png_16(path), pixels)


def test_what_pil_writes(tmp_path: Path) -> None:
    y, x = np.mgrid[:40, :50]
    values = (700 * y + 650 * x).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "image.png")
    np.testing.assert_array_equal(read_png_16(tmp_path / "image.png")[..., 0], values)


def test_other_files_have_not(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "image.png")
    (tmp_path / "text").write_text("text")
    assert not has_16_bits(tmp_path / "image.png")
    assert not has_16_bits(tmp_path / "text")


def test_refusals(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    whole = encode(np.ones((4, 4, 3), dtype=np.uint16), filters=[0])
    path.write_bytes(whole[:-30])
    with pytest.raises(ValueError, match="damaged or cut off"):
        read_png_16(path)
    path.write_bytes(whole[:28] + b"\1" + whole[29:])
    with pytest.raises(ValueError, match="interlaced"):
        read_png_16(path)
