"""Images of any number of channels, of 8 or 16 bits: .npy, TIFF, PNG and whatever else PIL reads.

Photographs (three channels of 8 bits) stay PIL images, which `images.read_image` reads; all others become tensors.

H, W, C: height, width, channels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from maskrcnn_benchmark.data.datasets.images import READ_ERRORS, read_image
from maskrcnn_benchmark.data.datasets.png import has_16_bits, read_png_16
from maskrcnn_benchmark.data.datasets.tiff import read_tiff
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.structures.sizes import WidthHeight

_TYPES = {8: np.dtype(np.uint8), 16: np.dtype(np.uint16)}
_TIFF = (".tif", ".tiff")


@dataclass(frozen=True, kw_only=True)
class ImageFormat:
    """What the images of a data set, and the input of a network, are made of.

    Attributes:
        channels: per pixel.
        bit_depth: of each channel, 8 or 16.
    """

    channels: int = 3
    bit_depth: int = 8

    @property
    def is_photograph(self) -> bool:
        """Whether PIL's RGB images are what is wanted."""
        return self.channels == 3 and self.bit_depth == 8


PHOTOGRAPH = ImageFormat()


def read_pixels(
    source: str | os.PathLike[str] | NDArray[Any] | Image.Image, wanted: ImageFormat
) -> Tensor:
    """An image as float32 (C, H, W), channels in the order of the file, the type's range as 0 to 1.

    Args:
        source: a file, or an array (H, W, C) or (H, W) of uint8 or uint16.
        wanted: what it must be; nothing is converted.

    Raises:
        DatasetError: if it cannot be read, or is of another format.
    """
    name = "the array"
    if isinstance(source, np.ndarray):
        pixels = source
    elif isinstance(source, Image.Image):
        name, pixels = "the PIL image", np.asarray(source)
    else:
        name = f"image file '{os.fspath(source)}'"
        pixels = _read_file(Path(source), name)
    pixels = _to_channels_last(pixels, wanted)
    found = f"{pixels.dtype} of shape {pixels.shape}"
    if pixels.ndim != 3 or pixels.shape[2] != wanted.channels or not pixels.size:
        raise DatasetError(
            f"{name} holds {found}, but images of {wanted.channels} channels are expected, (H, W, {wanted.channels}). "
            "Set INPUT.CHANNELS, INPUT.PIXEL_MEAN and INPUT.PIXEL_STD to what the images are"
        )
    if pixels.dtype != _TYPES[wanted.bit_depth]:
        raise DatasetError(
            f"{name} holds {found}, but channels of {wanted.bit_depth} bits are expected. "
            "Set INPUT.BIT_DEPTH to 8 or 16, or convert the images: neither is turned into the other silently"
        )
    scaled = pixels.transpose(2, 0, 1).astype(np.float32)
    return torch.from_numpy(scaled).div_(2**wanted.bit_depth - 1)


def read_sample(path: str | os.PathLike[str], wanted: ImageFormat) -> Image.Image | Tensor:
    """A data set's image: RGB as a PIL image where that is wanted, else a tensor; see `read_pixels`."""
    return read_image(path) if wanted.is_photograph else read_pixels(path, wanted)


def size_of(image: Image.Image | Tensor) -> WidthHeight:
    """Width and height of what `read_sample` gives."""
    if isinstance(image, Tensor):
        return WidthHeight(image.shape[-1], image.shape[-2])
    return WidthHeight(*image.size)


def black_image(size: WidthHeight, wanted: ImageFormat) -> Image.Image | Tensor:
    """An image in which there is nothing, as `read_sample` would give it."""
    if wanted.is_photograph:
        return Image.new("RGB", size)
    return torch.zeros(wanted.channels, size[1], size[0])


def to_picture(pixels: Tensor) -> Image.Image:
    """What people are shown of pixels (C, H, W): the first three channels, or the first in grey, stretched."""
    shown = pixels[:3] if pixels.shape[0] >= 3 else pixels[:1].expand(3, -1, -1)
    low, high = shown.amin(dim=(1, 2), keepdim=True), shown.amax(dim=(1, 2), keepdim=True)
    shown = (shown - low) / (high - low).clamp(min=1e-6)
    return Image.fromarray(shown.permute(1, 2, 0).mul(255).round().byte().numpy())


def _read_file(path: Path, name: str) -> NDArray[Any]:
    try:
        if path.suffix.lower() == ".npy":
            array: NDArray[Any] = np.load(path, allow_pickle=False)
            return array
        if path.suffix.lower() in _TIFF:
            return read_tiff(path)
        if has_16_bits(path):
            return read_png_16(path)
        with Image.open(path) as image:
            return np.array(image)
    except FileNotFoundError as error:
        raise DatasetError(f"{name} is not there") from error
    except READ_ERRORS as error:
        raise DatasetError(
            f"{name} cannot be read: {error}. It is damaged, cut off or of another kind; .npy, TIFF and PNG are read"
        ) from error


def _to_channels_last(pixels: NDArray[Any], wanted: ImageFormat) -> NDArray[Any]:
    if pixels.ndim == 2:
        return pixels[..., None]
    # (C, H, W), as some programs save arrays; an image has more pixels along its sides than channels.
    if pixels.ndim == 3 and pixels.shape[0] == wanted.channels < min(pixels.shape[1:]):
        return pixels.transpose(1, 2, 0)
    return pixels
