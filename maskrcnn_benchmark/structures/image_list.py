"""ImageList: images of different sizes in one padded tensor.

N: images.    C, H, W: channels, height, width of the padded batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.structures.sizes import HeightWidth


class ImageList:
    """A padded batch that knows the size of each image in it.

    Attributes:
        tensors: (N, C, H, W), each image in the top left corner, zeros around.
        image_sizes: height and width of each image without padding.
    """

    def __init__(self, tensors: Tensor, image_sizes: Iterable[Sequence[int]]) -> None:
        """Take a batch that is padded already.

        Args:
            tensors: (N, C, H, W).
            image_sizes: N times (height, width).
        """
        self.tensors = tensors
        self.image_sizes = [HeightWidth(height, width) for height, width in image_sizes]

    def to(self, *args: Any, **kwargs: Any) -> ImageList:
        """The batch on another device or in another type, as `Tensor.to`."""
        return ImageList(self.tensors.to(*args, **kwargs), self.image_sizes)

    def pin_memory(self) -> ImageList:
        """The batch in page-locked memory, from where copies to a GPU run in the background."""
        return ImageList(self.tensors.pin_memory(), self.image_sizes)

    def __len__(self) -> int:
        return len(self.image_sizes)

    def __repr__(self) -> str:
        shape = tuple(self.tensors.shape)
        return f"{type(self).__name__}(shape={shape}, image_sizes={self.image_sizes})"


def to_image_list(
    tensors: ImageList | Tensor | Sequence[Tensor], size_divisible: int = 0
) -> ImageList:
    """Make an ImageList of whatever holds images.

    Args:
        tensors: an ImageList (returned as it is), one image (C, H, W), a batch (N, C, H, W) of
            equal sizes, or a list of images of any sizes. Images are padded with zeros at the right
            and at the bottom.
        size_divisible: where above 0, height and width of the batch are rounded up to a multiple of
            it.

    Raises:
        ShapeError: for a tensor or a list entry of another rank, or an empty list.
        TypeError: for anything else.
    """
    if isinstance(tensors, ImageList):
        return tensors
    if isinstance(tensors, Tensor):
        if tensors.ndim not in (3, 4):
            raise ShapeError(
                f"images must have shape (C, H, W) or (N, C, H, W), got {tuple(tensors.shape)}"
            )
        batch = tensors[None] if tensors.ndim == 3 else tensors
        if size_divisible <= 0:
            return ImageList(batch, [HeightWidth(*batch.shape[-2:])] * batch.shape[0])
        return _pad(list(batch), size_divisible)
    if isinstance(tensors, list | tuple):
        return _pad(tensors, size_divisible)
    raise TypeError(
        f"images must be an ImageList, a tensor or a list of tensors, got {type(tensors).__name__}"
    )


def _pad(images: Sequence[Tensor], size_divisible: int) -> ImageList:
    """Copy images into one batch of zeros."""
    if not images:
        raise ShapeError("expected at least one image, got an empty list")
    for index, image in enumerate(images):
        if image.ndim != 3:
            raise ShapeError(f"image {index} must have shape (C, H, W), got {tuple(image.shape)}")
    channels, height, width = (max(image.shape[axis] for image in images) for axis in range(3))
    if size_divisible > 0:
        height = -(-height // size_divisible) * size_divisible
        width = -(-width // size_divisible) * size_divisible
    batch = images[0].new_zeros((len(images), channels, height, width))
    for row, image in zip(batch, images, strict=True):
        row[: image.shape[0], : image.shape[1], : image.shape[2]].copy_(image)
    return ImageList(batch, [HeightWidth(*image.shape[-2:]) for image in images])
