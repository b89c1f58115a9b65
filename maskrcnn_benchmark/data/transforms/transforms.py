"""The old project's transforms of (image, target).

Each takes a PIL image (after `ToTensor` a tensor) and a BoxList or None. Random ones draw from
Python's global generator, the colour jitter from torch's; training seeds both for every sample
(`data.seeded`).

C, H, W: channels, height, width.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms as vision

from maskrcnn_benchmark.structures.bounding_box import FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM, BoxList
from maskrcnn_benchmark.structures.sizes import HeightWidth


class Compose:
    """One transform after the other."""

    def __init__(self, transforms: Sequence[Callable[..., Any]]) -> None:
        """Set the order."""
        self.transforms = list(transforms)

    def __call__(self, image: Any, target: BoxList | None = None) -> Any:
        """Transform (image, target); only the image comes back where there is no target."""
        for transform in self.transforms:
            result = transform(image, target)
            image, target = result if isinstance(result, tuple) else (result, None)
        return image if target is None else (image, target)

    def __repr__(self) -> str:
        lines = "".join(f"\n    {transform}" for transform in self.transforms)
        return f"{type(self).__name__}({lines}\n)"


class Resize:
    """Scales the short side to a size, unless the long side became too long."""

    def __init__(self, min_size: int | Sequence[int], max_size: int) -> None:
        """Set the sizes.

        Args:
            min_size: wanted short side in pixels, or several to choose from at random.
            max_size: longest permitted long side in pixels.
        """
        self.min_size = (min_size,) if isinstance(min_size, int) else tuple(min_size)
        self.max_size = max_size

    def get_size(self, image_size: Sequence[int]) -> HeightWidth:
        """Draw the size that an image becomes.

        Args:
            image_size: (width, height) of the image.
        """
        # Drawn with a single choice too: what follows must not depend on the number of choices.
        short_side = random.choice(self.min_size)
        width, height = image_size
        short, long = min(width, height), max(width, height)
        if long / short * short_side > self.max_size:
            short_side = round(self.max_size * short / long)
        if short == short_side:
            return HeightWidth(height, width)
        if width < height:
            return HeightWidth(int(short_side * height / width), short_side)
        return HeightWidth(short_side, int(short_side * width / height))

    def __call__(self, image: Image.Image, target: BoxList | None = None) -> Any:
        """Resize; returns only the image where there is no target."""
        size = self.get_size(image.size).transposed()
        # Detectron: OpenCV without antialiasing. The old project: PIL, which antialiases.
        if image.size != size:
            image = image.resize(size, Image.Resampling.BILINEAR)
        return image if target is None else (image, target.resize(image.size))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(min_size={self.min_size}, max_size={self.max_size})"


class RandomHorizontalFlip:
    """Mirrors left and right with some probability."""

    def __init__(self, prob: float = 0.5) -> None:
        """Set the probability."""
        self.prob = prob

    def __call__(self, image: Image.Image, target: BoxList | None = None) -> Any:
        """Flip or not."""
        if random.random() < self.prob:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            target = None if target is None else target.transpose(FLIP_LEFT_RIGHT)
        return image, target

    def __repr__(self) -> str:
        return f"{type(self).__name__}(prob={self.prob})"


class RandomVerticalFlip:
    """Mirrors top and bottom with some probability."""

    def __init__(self, prob: float = 0.5) -> None:
        """Set the probability."""
        self.prob = prob

    def __call__(self, image: Image.Image, target: BoxList | None = None) -> Any:
        """Flip or not."""
        if random.random() < self.prob:
            image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
            target = None if target is None else target.transpose(FLIP_TOP_BOTTOM)
        return image, target

    def __repr__(self) -> str:
        return f"{type(self).__name__}(prob={self.prob})"


class ColorJitter:
    """Changes brightness, contrast, saturation and hue at random."""

    def __init__(
        self,
        brightness: float | None = None,
        contrast: float | None = None,
        saturation: float | None = None,
        hue: float | None = None,
    ) -> None:
        """Set the strengths; see torchvision's transform of this name.

        Args:
            brightness: factor from [1 - brightness, 1 + brightness]; None or 0 leaves it.
            contrast: likewise.
            saturation: likewise.
            hue: shift from [-hue, hue], at most 0.5.
        """
        self.color_jitter = vision.ColorJitter(
            brightness=brightness or 0.0,
            contrast=contrast or 0.0,
            saturation=saturation or 0.0,
            hue=hue or 0.0,
        )

    def __call__(self, image: Image.Image, target: BoxList | None = None) -> Any:
        """Change the colours."""
        return self.color_jitter(image), target

    def __repr__(self) -> str:
        return repr(self.color_jitter)


class ToTensor:
    """PIL image to float32 (C, H, W), RGB, 0 to 1."""

    def __call__(self, image: Image.Image, target: BoxList | None = None) -> Any:
        """Convert."""
        pixels = torch.from_numpy(np.array(image, dtype=np.uint8))  # (H, W, C)
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        return pixels.permute(2, 0, 1).contiguous().float().div_(255), target

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Normalize:
    """Subtracts a mean and divides by a deviation."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], to_bgr255: bool = True) -> None:
        """Set mean and deviation of each channel, in the order that `to_bgr255` makes.

        Args:
            mean: one value per channel.
            std: one value per channel.
            to_bgr255: first turn RGB, 0 to 1, into BGR, 0 to 255, as Detectron's weights expect.
        """
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.to_bgr255 = to_bgr255

    def __call__(self, image: Tensor, target: BoxList | None = None) -> Any:
        """Normalise (C, H, W); returns only the image where there is no target."""
        image = image[[2, 1, 0]].mul_(255) if self.to_bgr255 else image.clone()
        mean = image.new_tensor(self.mean)[:, None, None]
        std = image.new_tensor(self.std)[:, None, None]
        image = image.sub_(mean).div_(std)
        return image if target is None else (image, target)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(mean={self.mean}, std={self.std}, to_bgr255={self.to_bgr255})"
        )
