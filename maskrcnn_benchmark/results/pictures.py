"""PIL images of any mode as the RGB that is looked at, by networks and by people."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_WHITE = (255, 255, 255, 255)
_MAX_16_BIT = 65535


def to_rgb(image: Image.Image) -> Image.Image:
    """A PIL image of any mode as RGB.

    Transparent pixels are put in front of white. Grey of 16 bits is taken to reach from 0 to 65535. Floating point
    values are taken to reach from 0 to 1, or from 0 to 255 where one is larger than 1.

    Raises:
        ValueError: if it has no pixel, values that are not finite, or a mode that PIL cannot convert.
    """
    if not all(image.size):
        raise ValueError(f"it has {image.width}x{image.height} pixels")
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_bytes(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, _WHITE), layer).convert("RGB")
    return image.convert("RGB")


def _to_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey values of more than 8 bits (H, W) as bytes."""
    if not np.isfinite(values).all():
        raise ValueError("it holds NaN or infinity")
    largest = values.max()
    if values.dtype.kind == "f":
        factor = 255.0 if largest <= 1 else 1.0
    elif values.dtype.itemsize == 2 or largest > 255:
        factor = 255.0 / _MAX_16_BIT
    else:
        factor = 1.0
    return np.round(values.astype(np.float64) * factor).clip(0, 255).astype(np.uint8)
