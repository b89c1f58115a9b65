from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from maskrcnn_benchmark.data.datasets.channels import (
    PHOTOGRAPH,
    ImageFormat,
    black_image,
    read_pixels,
    read_sample,
    size_of,
    to_picture,
)
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.structures.sizes import WidthHeight

FIVE = ImageFormat(channels=5, bit_depth=16)


def some_pixels(channels: int = 5) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.integers(0, 65536, (7, 6, channels)).astype(np.uint16)


def test_numpy_files_in_either_layout(tmp_path: Path) -> None:
    pixels = some_pixels()
    expected = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1) / 65535
    for layout in (pixels, pixels.transpose(2, 0, 1)):
        np.save(tmp_path / "image.npy", layout)
        found = read_pixels(tmp_path / "image.npy", FIVE)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(read_pixels(pixels, FIVE), expected)


def test_a_grey_png_keeps_its_16_bits(tmp_path: Path) -> None:
    values = np.array([[0, 1, 256], [40000, 65534, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "grey.png")
    found = read_pixels(tmp_path / "grey.png", ImageFormat(channels=1, bit_depth=16))
    np.testing.assert_array_equal((found[0] * 65535).round().numpy(), values)


def test_an_8_bit_png_with_transparency_has_four_channels(tmp_path: Path) -> None:
    pixels = (some_pixels(4) >> 8).astype(np.uint8)
    Image.fromarray(pixels[..., :3]).save(tmp_path / "three.png")
    Image.fromarray(pixels).save(tmp_path / "four.png")
    found = read_pixels(tmp_path / "four.png", ImageFormat(channels=4))
    np.testing.assert_array_equal((found * 255).round().permute(1, 2, 0).numpy(), pixels)
    with pytest.raises(DatasetError, match=r"holds uint8 of shape \(7, 6, 3\), but images of 4"):
        read_pixels(tmp_path / "three.png", ImageFormat(channels=4))


def test_the_number_of_bits_is_not_guessed(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", some_pixels())
    with pytest.raises(DatasetError, match="channels of 8 bits are expected"):
        read_pixels(tmp_path / "image.npy", ImageFormat(channels=5))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.npy", None, "is not there"),
        ("broken.npy", b"\x93NUMPY\x01", "cannot be read"),
        ("broken.tif", b"II*\0\xff\xff\xff\xff", "damaged or cut off"),
        ("broken.png", b"\x89PNG nothing", "cannot be read"),
        ("text.jpg", b"text", "cannot be read"),
    ],
)
def test_files_that_cannot_be_read(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message) as failure:
        read_pixels(tmp_path / name, FIVE)
    assert name in str(failure.value)


def test_objects_in_a_numpy_file_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_pixels(tmp_path / "image.npy", FIVE)


def test_photographs_stay_pil_images(tmp_path: Path) -> None:
    Image.new("RGB", (7, 5), (1, 2, 3)).save(tmp_path / "image.png")
    image = read_sample(tmp_path / "image.png", PHOTOGRAPH)
    assert isinstance(image, Image.Image)
    assert size_of(image) == WidthHeight(7, 5)


def test_a_black_image_is_of_the_same_kind() -> None:
    size = WidthHeight(7, 5)
    assert isinstance(black_image(size, PHOTOGRAPH), Image.Image)
    black = black_image(size, FIVE)
    assert isinstance(black, Tensor)
    assert black.shape == (5, 5, 7)
    assert size_of(black) == size


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_the_picture_for_people_uses_the_whole_range(channels: int) -> None:
    pixels = torch.linspace(0.2, 0.3, channels * 12).view(channels, 3, 4)
    shown = np.asarray(to_picture(pixels))
    assert shown.shape == (3, 4, 3)
    assert (shown.min(), shown.max()) == (0, 255)
