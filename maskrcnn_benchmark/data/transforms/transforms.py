"""The old project's transforms of (image, target).

Each takes a PIL image, or a tensor (C, H, W) after `ToTensor` and where images have more channels or bits than PIL
knows, and a BoxList or None. Random ones draw from Python's global generator, the colour jitter from torch's; training
seeds both for every sample (`data.seeded`).

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

from maskrcnn_benchmark.data.transforms.continuous import mirror_continuous
from maskrcnn_benchmark.data.transforms.resize import Resize
from maskrcnn_benchmark.errors import ConfigError, ShapeError
from maskrcnn_benchmark.layers.boxes import LEGACY_OFFSET
from maskrcnn_benchmark.structures.bounding_box import FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM, BoxList

__all__ = [
    "ColorJitter",
    "Compose",
    "Normalize",
    "RandomHorizontalFlip",
    "RandomVerticalFlip",
    "Resize",
    "ToTensor",
]


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


class RandomHorizontalFlip:
    """Mirrors left and right with some probability."""

    def __init__(
        self,
        prob: float = 0.5,
        *,
        box_offset: float = LEGACY_OFFSET,
        keypoint_offset: float = 0.0,
    ) -> None:
        """Set the probability, and what the target is like.

        Args:
            prob: of a flip.
            box_offset: 1 for inclusive boxes, 0 for continuous ones (`transforms.continuous`).
            keypoint_offset: of continuous targets.
        """
        self.prob = prob
        self.box_offset = box_offset
        self.keypoint_offset = keypoint_offset

    def __call__(self, image: Image.Image | Tensor, target: BoxList | None = None) -> Any:
        """Flip or not."""
        if random.random() < self.prob:
            image = _mirror(image, -1, Image.Transpose.FLIP_LEFT_RIGHT)
            target = _mirror_target(target, FLIP_LEFT_RIGHT, self.box_offset, self.keypoint_offset)
        return image, target

    def __repr__(self) -> str:
        return f"{type(self).__name__}(prob={self.prob})"


class RandomVerticalFlip:
    """Mirrors top and bottom with some probability."""

    def __init__(
        self,
        prob: float = 0.5,
        *,
        box_offset: float = LEGACY_OFFSET,
        keypoint_offset: float = 0.0,
    ) -> None:
        """Set the probability, and what the target is like.

        Args:
            prob: of a flip.
            box_offset: 1 for inclusive boxes, 0 for continuous ones (`transforms.continuous`).
            keypoint_offset: of continuous targets.
        """
        self.prob = prob
        self.box_offset = box_offset
        self.keypoint_offset = keypoint_offset

    def __call__(self, image: Image.Image | Tensor, target: BoxList | None = None) -> Any:
        """Flip or not."""
        if random.random() < self.prob:
            image = _mirror(image, -2, Image.Transpose.FLIP_TOP_BOTTOM)
            target = _mirror_target(target, FLIP_TOP_BOTTOM, self.box_offset, self.keypoint_offset)
        return image, target

    def __repr__(self) -> str:
        return f"{type(self).__name__}(prob={self.prob})"


def _mirror_target(
    target: BoxList | None, method: int, box_offset: float, keypoint_offset: float
) -> BoxList | None:
    if target is None or box_offset:
        return None if target is None else target.transpose(method)
    return mirror_continuous(target, method, keypoint_offset=keypoint_offset)


def _mirror(
    image: Image.Image | Tensor, axis: int, transpose: Image.Transpose
) -> Image.Image | Tensor:
    return image.flip(axis) if isinstance(image, Tensor) else image.transpose(transpose)


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
        self._changes = any((brightness, contrast, saturation, hue))

    def __call__(self, image: Image.Image | Tensor, target: BoxList | None = None) -> Any:
        """Change the colours.

        Raises:
            ConfigError: for an image of other than 1 or 3 channels, which are no colours.
        """
        if isinstance(image, Tensor) and image.shape[0] not in (1, 3) and self._changes:
            raise ConfigError(
                f"colour jitter knows images of 1 or 3 channels, got {image.shape[0]}. Set INPUT.BRIGHTNESS, CONTRAST, "
                "SATURATION and HUE to 0"
            )
        return (self.color_jitter(image) if self._changes else image), target

    def __repr__(self) -> str:
        return repr(self.color_jitter)


class ToTensor:
    """PIL image to float32 (C, H, W), RGB, 0 to 1; a tensor stays as it is."""

    def __call__(self, image: Image.Image | Tensor, target: BoxList | None = None) -> Any:
        """Convert."""
        if isinstance(image, Tensor):
            return image, target
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
            to_bgr255: first turn RGB, 0 to 1, into BGR, 0 to 255, as Detectron's weights expect. Channels of images
                that have not three of them keep their order.
        """
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.to_bgr255 = to_bgr255

    def __call__(self, image: Tensor, target: BoxList | None = None) -> Any:
        """Normalise (C, H, W); returns only the image where there is no target.

        Raises:
            ShapeError: if there is not a mean and a deviation for each channel.
        """
        channels = image.shape[0]
        if len(self.mean) not in (1, channels) or len(self.std) not in (1, channels):
            raise ShapeError(
                f"an image of {channels} channels was to be normalised with {len(self.mean)} means and "
                f"{len(self.std)} deviations; set INPUT.PIXEL_MEAN and INPUT.PIXEL_STD for each channel"
            )
        image = image[[2, 1, 0]] if self.to_bgr255 and channels == 3 else image.clone()
        if self.to_bgr255:
            image.mul_(255)
        mean = image.new_tensor(self.mean)[:, None, None]
        std = image.new_tensor(self.std)[:, None, None]
        image = image.sub_(mean).div_(std)
        return image if target is None else (image, target)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(mean={self.mean}, std={self.std}, to_bgr255={self.to_bgr255})"
        )
