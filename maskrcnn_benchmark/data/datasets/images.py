"""Image files to RGB pixels, with errors that name the file."""

from __future__ import annotations

import os
import struct

import numpy as np
from PIL import Image

from maskrcnn_benchmark.errors import DatasetError

# What PIL raises for files that are damaged, cut off, too large, or no images at all.
READ_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)


def read_image(path: str | os.PathLike[str]) -> Image.Image:
    """Decode an image file completely, as RGB.

    The orientation noted in EXIF is not applied: the sizes and boxes of annotation files refer to
    the pixels as they are stored.

    Raises:
        DatasetError: if there is no such file, it cannot be decoded, or 8 bits cannot hold its values.
    """
    try:
        with Image.open(path) as image:
            _check_depth(image)
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise DatasetError(
            f"image file not found: '{os.fspath(path)}'. Check the image folder and the file_name "
            "in the annotation file."
        ) from error
    except READ_ERRORS as error:
        raise DatasetError(
            f"image file '{os.fspath(path)}' cannot be read: {error}. It is damaged, cut off or "
            "not an image; replace it or take it out of the data set."
        ) from error


def _check_depth(image: Image.Image) -> None:
    """Raise ValueError for pixels that PIL would cut off at 0 and 255: an image all white, or all black."""
    is_deep = image.mode == "F" or image.mode.startswith("I;16")
    if image.mode == "I":
        pixels = np.asarray(image)
        is_deep = bool(((pixels < 0) | (pixels > 255)).any())
    if is_deep:
        raise ValueError(
            f"its pixels (PIL mode {image.mode}) do not fit into 8 bits. Set INPUT.BIT_DEPTH 16, INPUT.CHANNELS and "
            "one INPUT.PIXEL_MEAN and INPUT.PIXEL_STD per channel for images of 16 bits, or convert them to 8 bits"
        )
