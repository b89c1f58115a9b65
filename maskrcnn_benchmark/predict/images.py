"""Whatever a user calls an image -> RGB pixels, 8 bits each, or as many channels and bits as the network wants.

Unlike data sets (`data.datasets.images`), whose boxes refer to the pixels as they are stored, a user means the image
as it is looked at: turned as its EXIF orientation says, and in front of white where it is transparent.
"""

from __future__ import annotations

import logging
import os
import struct
import warnings
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from maskrcnn_benchmark.data.datasets.channels import ImageFormat, read_pixels
from maskrcnn_benchmark.errors import DatasetError, ShapeError
from maskrcnn_benchmark.results.pictures import to_rgb

logger = logging.getLogger(__name__)

# A tensor is what `read_input` gave before.
ImageSource = str | os.PathLike[str] | Image.Image | NDArray[Any] | Tensor

# What PIL raises for files that are damaged, cut off, too large, or no images at all.
_READ_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)
_ANIMATED = frozenset({"GIF", "PNG", "WEBP"})


def read_input(source: ImageSource, wanted: ImageFormat) -> Image.Image | Tensor:
    """Read an image for a network.

    Args:
        source: see `read_image`; for other channels and bits than those of photographs a file or array that has them,
            see `data.datasets.channels.read_pixels`.
        wanted: what the network was made for.

    Returns:
        RGB as a PIL image for photographs, else float32 (C, H, W) from 0 to 1.

    Raises:
        DatasetError: if it cannot be read, or is of another format.
        ShapeError: for an array of another shape or type.
    """
    if isinstance(source, Tensor):
        return source
    return read_image(source) if wanted.is_photograph else read_pixels(source, wanted)


def read_image(source: ImageSource) -> Image.Image:
    """Read an image.

    Args:
        source: a file (its EXIF orientation is applied; of an animation the first picture is taken; `.npy` holds an
            array), a PIL image of any mode (taken as its pixels lie), or an array (H, W, 3), uint8, RGB.

    Raises:
        DatasetError: if it cannot be read, or holds no pixel.
        ShapeError: for an array of another shape or type.
        TypeError: for anything else.
    """
    if isinstance(source, str | os.PathLike):
        return _read_file(source)
    if isinstance(source, Image.Image):
        try:
            return to_rgb(source)
        except _READ_ERRORS as error:
            name = getattr(source, "filename", "") or "in memory"
            raise DatasetError(f"the PIL image ({name}) cannot be read: {error}") from error
    if isinstance(source, np.ndarray):
        return _read_array(source)
    raise TypeError(
        "an image must be a path, a PIL image or an array (H, W, 3) of uint8 in RGB, "
        f"got {type(source).__name__}"
    )


def _read_file(path: str | os.PathLike[str]) -> Image.Image:
    name = os.fspath(path)
    try:
        if name.lower().endswith(".npy"):
            return _read_numpy_file(name)
        return read_file_object(path, f"'{name}'")
    except FileNotFoundError as error:
        raise DatasetError(f"there is no image file '{name}'") from error
    except IsADirectoryError as error:
        raise DatasetError(f"'{name}' is a folder; expected an image file") from error


def _read_numpy_file(name: str) -> Image.Image:
    try:
        return _read_array(np.load(name, allow_pickle=False))
    except ShapeError as error:
        raise DatasetError(f"'{name}': {error}") from error
    except (ValueError, EOFError) as error:
        raise DatasetError(f"'{name}' cannot be read as an array: {error}") from error


def read_file_object(file: str | os.PathLike[str] | IO[bytes], name: str) -> Image.Image:
    """Read an image from a file, or from one that is open.

    Args:
        file: path, or open for reading bytes.
        name: what messages call it.

    Raises:
        DatasetError: if it is no image, or holds no pixel.
    """
    try:
        with warnings.catch_warnings():
            # PIL warns at 90 million pixels and refuses at twice as many; the latter is enough.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                # PIL reports damaged EXIF data by a warning, and then there is no orientation.
                warnings.simplefilter("ignore", UserWarning)
                _report_animation(image, name)
                return to_rgb(ImageOps.exif_transpose(image))
    except (FileNotFoundError, IsADirectoryError):
        raise
    except Image.DecompressionBombError as error:
        raise DatasetError(
            f"{name} cannot be read as an image: {error}. If you trust it, raise PIL.Image.MAX_IMAGE_PIXELS, "
            "or pass its pixels as an array"
        ) from error
    except _READ_ERRORS as error:
        raise DatasetError(
            f"{name} cannot be read as an image: {error}. It is damaged, cut off or not an image"
        ) from error


def _report_animation(image: Image.Image, name: str) -> None:
    # Some JPEG files of phones hold several pictures, too: of the same moment.
    if image.format in _ANIMATED and getattr(image, "is_animated", False):
        count = getattr(image, "n_frames", 0)
        logger.warning("%s is an animation of %d pictures: the first one is taken", name, count)


def _read_array(array: NDArray[Any]) -> Image.Image:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ShapeError("an image array must be finite, but this one holds NaN or infinity")
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or not array.size:
        hint = "; scale values from 0..1 by 255 and convert" if array.dtype.kind == "f" else ""
        raise ShapeError(
            "an image array must be uint8 of shape (H, W, 3) in RGB, "
            f"got {array.dtype} of shape {array.shape}{hint}"
        )
    return Image.fromarray(np.ascontiguousarray(array))
