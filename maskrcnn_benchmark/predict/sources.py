"""What else a user may have in hand than a file, a PIL image or an array: bytes, open files and tensors."""

from __future__ import annotations

import io
import os
import tempfile
from typing import IO, Any, TypeAlias, cast

import torch
from PIL import Image
from torch import Tensor

from maskrcnn_benchmark.data.datasets.channels import ImageFormat
from maskrcnn_benchmark.errors import DatasetError, ShapeError
from maskrcnn_benchmark.predict.images import ImageSource, read_file_object, read_image, read_input

AnySource: TypeAlias = ImageSource | bytes | bytearray | memoryview | IO[bytes]


def read_source(source: AnySource, wanted: ImageFormat) -> Image.Image | Tensor:
    """Read an image for a network.

    Args:
        source: bytes of an image file or a file open for reading bytes; a tensor (C, H, W), uint8, or floating point
            from 0 to 1 (of photographs it is rounded to 8 bits, as a file would hold it); or see `images.read_input`.
        wanted: what the network was made for.

    Returns:
        RGB as a PIL image for photographs, else float32 (C, H, W) from 0 to 1.

    Raises:
        DatasetError: if it cannot be read.
        ShapeError: for an array or a tensor of another shape, type or range.
        TypeError: for anything else.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return _read_opened(io.BytesIO(source), f"the {len(source)} bytes given", wanted)
    if isinstance(source, Tensor):
        return _read_tensor(source, wanted)
    if hasattr(source, "read") and not isinstance(source, Image.Image):
        name = getattr(source, "name", None)
        opened = cast("IO[bytes]", source)
        return _read_opened(opened, f"'{name}'" if name else "the open file", wanted)
    return read_input(cast("ImageSource", source), wanted)


def name_of(source: Any) -> str | None:
    """The file a source came from, where that is known."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) and name else None


def _read_opened(file: IO[bytes], name: str, wanted: ImageFormat) -> Image.Image | Tensor:
    if wanted.is_photograph:
        return read_file_object(file, name)
    file.seek(0)
    content = file.read()
    # What reads more than PIL does reads files.
    with tempfile.NamedTemporaryFile(suffix=_suffix_of(content)) as copy:
        copy.write(content)
        copy.flush()
        try:
            return read_input(copy.name, wanted)
        except DatasetError as error:
            text = str(error).replace(f"image file '{copy.name}'", name)
            raise DatasetError(text) from error


def _suffix_of(content: bytes) -> str:
    """The ending of a file's name, as far as it decides how the file is read."""
    if content.startswith(b"\x93NUMPY"):
        return ".npy"
    return ".tif" if content[:4] in (b"II*\0", b"MM\0*") else ".img"


def _read_tensor(tensor: Tensor, wanted: ImageFormat) -> Image.Image | Tensor:
    if tensor.ndim != 3 or tensor.shape[0] != wanted.channels or not tensor.numel():
        raise ShapeError(
            f"an image tensor must have shape ({wanted.channels}, H, W), got {tuple(tensor.shape)}"
        )
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.uint8 and wanted.bit_depth == 8:
        if not wanted.is_photograph:
            return tensor.float() / 255
        return read_image(tensor.permute(1, 2, 0).contiguous().numpy())
    if not tensor.is_floating_point():
        raise ShapeError(
            f"an image tensor must be uint8, or floating point from 0 to 1; got {tensor.dtype}"
        )
    _check_range(tensor)
    if not wanted.is_photograph:
        return tensor.float()
    pixels = tensor.float().mul(255).round().to(torch.uint8)
    return read_image(pixels.permute(1, 2, 0).contiguous().numpy())


def _check_range(tensor: Tensor) -> None:
    low, high = (value.item() for value in tensor.float().aminmax())
    if not low >= 0 or not high <= 1:  # NaN is neither.
        raise ShapeError(
            f"an image tensor of {tensor.dtype} must hold values from 0 to 1, but these go from {low:.4g} to "
            f"{high:.4g}; divide values up to 255 by 255, and pass images before they are normalised"
        )
