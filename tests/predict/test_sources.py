from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.data.datasets.channels import PHOTOGRAPH, ImageFormat
from maskrcnn_benchmark.errors import DatasetError, ShapeError
from maskrcnn_benchmark.predict.sources import name_of, read_source

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)


def png(**options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, format="PNG", **options)
    return buffer.getvalue()


def as_sources(path: Path) -> list[Any]:
    path.write_bytes(png())
    chw = torch.from_numpy(PIXELS).permute(2, 0, 1)
    return [
        str(path),
        path,
        Image.fromarray(PIXELS),
        PIXELS,
        png(),
        bytearray(png()),
        memoryview(png()),
        io.BytesIO(png()),
        chw,
        chw.float() / 255,
        chw.double() / 255,
    ]


def test_every_source_gives_the_same_pixels(tmp_path: Path) -> None:
    for source in as_sources(tmp_path / "a.png"):
        image = read_source(source, PHOTOGRAPH)
        assert isinstance(image, Image.Image)
        np.testing.assert_array_equal(np.asarray(image), PIXELS)


def test_open_files_are_read_and_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png())
    with path.open("rb") as file:
        np.testing.assert_array_equal(np.asarray(read_source(file, PHOTOGRAPH)), PIXELS)
        assert name_of(file) == str(path)
    assert name_of(path) == str(path)
    for source in (PIXELS, Image.fromarray(PIXELS), torch.zeros(3, 2, 2), b""):
        assert name_of(source) is None
    path.write_text("no image")
    with path.open("rb") as file, pytest.raises(DatasetError, match=r"a\.png' cannot be read"):
        read_source(file, PHOTOGRAPH)


def test_bytes_are_turned_as_their_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_source(png(exif=exif), PHOTOGRAPH).size == (9, 7)  # type: ignore[union-attr]


@pytest.mark.parametrize("data", [b"", b"no image", png()[:-40]])
def test_bytes_that_are_no_image_are_named(data: bytes) -> None:
    with pytest.raises(DatasetError, match=f"the {len(data)} bytes given cannot be read"):
        read_source(data, PHOTOGRAPH)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(5, 6), r"shape \(3, H, W\), got \(5, 6\)"),
        (torch.zeros(1, 3, 5, 6), r"got \(1, 3, 5, 6\)"),
        (torch.zeros(5, 6, 3), r"got \(5, 6, 3\)"),
        (torch.zeros(3, 0, 6), r"got \(3, 0, 6\)"),
        (torch.zeros(3, 5, 6, dtype=torch.int64), "got torch.int64"),
        (torch.full((3, 5, 6), float("nan")), "from nan to nan"),
        (torch.full((3, 5, 6), 200.0), "go from 200 to 200; divide"),
        (torch.full((3, 5, 6), -0.5), "go from -0.5"),
    ],
)
def test_tensors_that_are_no_image_are_refused(tensor: torch.Tensor, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        read_source(tensor, PHOTOGRAPH)


def test_other_channels_pass_as_they_are() -> None:
    wanted = ImageFormat(channels=5, bit_depth=16)
    tensor = torch.rand(5, 4, 3)
    assert torch.equal(read_source(tensor, wanted), tensor)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"shape \(5, H, W\)"):
        read_source(torch.rand(3, 4, 3), wanted)
    grey = ImageFormat(channels=1)
    got = read_source(torch.full((1, 2, 2), 51, dtype=torch.uint8), grey)
    torch.testing.assert_close(got, torch.full((1, 2, 2), 0.2))


@pytest.mark.parametrize("source", [None, 3, object()])
def test_other_things_are_refused(source: Any) -> None:
    with pytest.raises(TypeError, match="an image must be a path"):
        read_source(source, PHOTOGRAPH)


def test_bytes_of_other_channels_are_read_as_files_are(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (9, 7, 5), dtype=np.uint16)
    path = tmp_path / "a.npy"
    np.save(path, pixels)
    wanted = ImageFormat(channels=5, bit_depth=16)
    expected = read_source(path, wanted)
    with path.open("rb") as file:
        file.read(3)
        assert torch.equal(read_source(file, wanted), expected)  # type: ignore[arg-type]
    assert torch.equal(read_source(path.read_bytes(), wanted), expected)  # type: ignore[arg-type]
    deep = Image.fromarray(pixels[..., 0])
    for kind in ("PNG", "TIFF"):
        buffer = io.BytesIO()
        deep.save(buffer, format=kind)
        got = read_source(buffer.getvalue(), ImageFormat(channels=1, bit_depth=16))
        torch.testing.assert_close(got, expected[:1])  # type: ignore[index]
    with pytest.raises(DatasetError, match="the 8 bytes given cannot be read"):
        read_source(b"no image", wanted)
    with pytest.raises(DatasetError, match=r"bytes given holds uint8 .* 5 channels are expected"):
        read_source(png(), wanted)
