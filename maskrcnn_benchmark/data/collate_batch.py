"""Samples to batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskrcnn_benchmark.structures.image_list import ImageList, to_image_list


class BatchCollator:
    """Pads the images of a batch to one size."""

    def __init__(self, size_divisible: int = 0) -> None:
        """Set the padding.

        Args:
            size_divisible: height and width of the batch become multiples of it, where above 0.
        """
        self.size_divisible = size_divisible

    def __call__(self, batch: Sequence[Any]) -> tuple[ImageList, list[Any], list[int]]:
        """Turn samples (image, target, index) into (images, targets, indices)."""
        images, targets, indices = zip(*batch, strict=True)
        return to_image_list(images, self.size_divisible), list(targets), list(indices)


class BBoxAugCollator:
    """Leaves the images as they are: test-time augmentation transforms them itself."""

    def __call__(self, batch: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Turn samples (image, target, index) into [images, targets, indices]."""
        return list(zip(*batch, strict=True))
