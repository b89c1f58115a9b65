"""Image files to RGB pixels, with errors that name the file."""

from __future__ import annotations

import os
import struct

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
        DatasetError: if there is no such file, or it cannot be decoded.
    """
    try:
        with Image.open(path) as image:
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
