"""Resizing an image together with its target, by the rule of one framework.

The frameworks differ in how they round the sides and in how they make the pixels; networks notice both.

C, H, W: channels, height, width.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from torch import Tensor

from maskrcnn_benchmark.numerics import ResizeRule
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.sizes import HeightWidth


class Resize:
    """Scales the short side to a size, unless the long side became too long."""

    def __init__(
        self,
        min_size: int | Sequence[int],
        max_size: int,
        *,
        rule: ResizeRule = "detectron",
    ) -> None:
        """Set the sizes.

        Args:
            min_size: wanted short side in pixels, or several to choose from at random.
            max_size: longest permitted long side in pixels.
            rule: how sides are rounded and pixels made. detectron: the long side down, after the short one was rounded
                where it had to be less than wanted; PIL's antialiased pixels. detectron2: both sides once, to the
                nearest pixel; PIL's. mmdet: likewise, without antialiasing (OpenCV's). torchvision: both sides down;
                torch's, without antialiasing, and of a normalised tensor.
        """
        self.min_size = (min_size,) if isinstance(min_size, int) else tuple(min_size)
        self.max_size = max_size
        self.rule = rule

    def get_size(self, image_size: Sequence[int]) -> HeightWidth:
        """Draw the size that an image becomes.

        Args:
            image_size: (width, height) of the image.
        """
        width, height = image_size
        return HeightWidth(*_resized_sides(height, width, self._draw(), self.max_size, self.rule))

    def __call__(self, image: Image.Image | Tensor, target: BoxList | None = None) -> Any:
        """Resize a PIL image or a tensor (C, H, W); returns only the image where there is no target."""
        short_side = self._draw()
        height, width = (
            image.shape[-2:] if isinstance(image, Tensor) else (image.height, image.width)
        )
        size = HeightWidth(*_resized_sides(height, width, short_side, self.max_size, self.rule))
        if isinstance(image, Tensor):
            resized: Any = self._resize_tensor(image, size, short_side)
        else:
            resized = self._resize_image(image, size)
        return resized if target is None else (resized, target.resize(size.transposed()))

    def _draw(self) -> int:
        # Drawn with a single choice too: what follows must not depend on the number of choices.
        return random.choice(self.min_size)

    def _resize_image(self, image: Image.Image, size: HeightWidth) -> Image.Image:
        if image.size == size.transposed():
            return image
        if self.rule in ("detectron", "detectron2"):
            # Detectron: OpenCV without antialiasing. The old project: PIL, which antialiases.
            return image.resize(size.transposed(), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image, dtype=np.float32))  # (H, W) or (H, W, C)
        planes = pixels[None, None] if pixels.dim() == 2 else pixels.permute(2, 0, 1)[None]
        planes = F.interpolate(planes, size=size, mode="bilinear", align_corners=False)
        values = planes[0, 0] if pixels.dim() == 2 else planes[0].permute(1, 2, 0)
        return Image.fromarray(values.round().clamp(0, 255).byte().numpy())

    def _resize_tensor(self, image: Tensor, size: HeightWidth, short_side: int) -> Tensor:
        scale = min(short_side / min(image.shape[-2:]), self.max_size / max(image.shape[-2:]))
        if self.rule == "torchvision" and scale * min(image.shape[-2:]) >= 1:
            # The scale of each axis is that of the rounded sides.
            return F.interpolate(
                image[None],
                scale_factor=scale,
                mode="bilinear",
                recompute_scale_factor=True,
                align_corners=False,
            )[0]
        if tuple(image.shape[-2:]) == size:
            return image
        antialias = self.rule in ("detectron", "detectron2")
        return F.interpolate(
            image[None], size=size, mode="bilinear", align_corners=False, antialias=antialias
        )[0]

    def __repr__(self) -> str:
        rule = "" if self.rule == "detectron" else f", rule={self.rule!r}"
        return f"{type(self).__name__}(min_size={self.min_size}, max_size={self.max_size}{rule})"


def _resized_sides(
    height: int, width: int, short_side: int, max_size: int, rule: ResizeRule
) -> tuple[int, int]:
    """New height and width; of an image that is far longer than wide, too, each is at least one pixel."""
    short, long = min(width, height), max(width, height)
    if rule == "detectron2":
        # In two steps, as detectron2 multiplies: the last bit decides where a side ends in a half.
        scale = short_side / short
        sides = [float(short_side) if side == short else side * scale for side in (height, width)]
        if max(sides) > max_size:
            scale = max_size / max(sides)
            sides = [side * scale for side in sides]
        return max(int(sides[0] + 0.5), 1), max(int(sides[1] + 0.5), 1)
    if rule == "mmdet":
        scale = min(max_size / long, short_side / short)
        return max(int(height * scale + 0.5), 1), max(int(width * scale + 0.5), 1)
    if rule == "torchvision":
        scale = min(short_side / short, max_size / long)
        return max(math.floor(height * scale), 1), max(math.floor(width * scale), 1)
    if long / short * short_side > max_size:
        short_side = max(round(max_size * short / long), 1)
    if short == short_side:
        return height, width
    if width < height:
        return int(short_side * height / width), short_side
    return short_side, int(short_side * width / height)
