"""Bit masks of the instances of one image.

N: instances.    H, W: height and width of the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor
from torch.nn.functional import interpolate

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.structures.bounding_box import FLIP_LEFT_RIGHT
from maskrcnn_benchmark.structures.polygons import (
    PolygonInstance,
    PolygonList,
    Size,
    check_flip,
    selected,
)


def decode_rle(rle: Mapping[str, Any]) -> Tensor:
    """Mask (H, W), uint8, of COCO's run-length code, compressed or not."""
    counts, size = rle["counts"], [int(side) for side in rle["size"]]
    encoded = {"size": size, "counts": counts}
    if isinstance(counts, list | tuple):
        encoded = coco_mask.frPyObjects({"size": size, "counts": list(counts)}, *size)
    mask = coco_mask.decode(encoded)
    return torch.from_numpy(np.ascontiguousarray(mask))


def resize_masks(
    masks: Tensor, *, height: int, width: int, threshold: float | None = None
) -> Tensor:
    """Masks (N, H, W) resized bilinearly, in the type they came in.

    Args:
        masks: (N, H, W) of any type.
        height: new height.
        width: new width.
        threshold: a pixel is set where the interpolated value reaches this. None casts the value
            back as the old project did: bool is set where anything remains (masks grow), integers
            are truncated (masks shrink).
    """
    if masks.shape[0] == 0:
        return masks.new_zeros((0, height, width))
    if masks.shape[1:] == (height, width):
        return masks
    resized = interpolate(
        masks[None].float(), size=(height, width), mode="bilinear", align_corners=False
    )[0]
    if threshold is not None:
        resized = resized >= threshold
    return resized.to(masks.dtype)


class BinaryMaskList:
    """The masks of one image, in the order of their boxes.

    Attributes:
        masks: (N, H, W), uint8 (made of polygons or RLE) or whatever type the given tensor had.
        size: (width, height) of the image.
        threshold: see `resize_masks`.
    """

    def __init__(
        self,
        masks: BinaryMaskList | PolygonList | Tensor | Sequence[Any],
        size: Sequence[float],
        *,
        threshold: float | None = None,
    ) -> None:
        """Take masks; the data is always copied.

        Args:
            masks: (N, H, W), or for each instance a mask (H, W), an RLE dict or a list of flat
                polygons.
            size: (width, height) of the image. RLE of another size is resized to it.
            threshold: see `resize_masks`.

        Raises:
            ShapeError: for masks of another size.
        """
        width, height = int(size[0]), int(size[1])
        self.size: Size = (width, height)
        self.threshold = threshold
        if isinstance(masks, BinaryMaskList):
            self.threshold = masks.threshold if threshold is None else threshold
            tensor = masks.masks.clone()
        elif isinstance(masks, PolygonList):
            tensor = masks.as_masks()
        elif isinstance(masks, Tensor):
            tensor = masks.clone() if masks.ndim == 3 else masks[None].clone()
        elif len(masks) == 0:
            tensor = torch.zeros((0, height, width), dtype=torch.uint8)
        else:
            tensor = torch.stack([self._decode(instance) for instance in masks])
        if tensor.ndim != 3 or tuple(tensor.shape[1:]) != (height, width):
            raise ShapeError(
                f"masks must have shape (N, {height}, {width}) for an image of "
                f"{width} x {height} (width x height), got {tuple(tensor.shape)}"
            )
        self.masks: Tensor = tensor

    def _decode(self, instance: Any) -> Tensor:
        """One mask (H, W) of whatever an instance is given as."""
        width, height = int(self.size[0]), int(self.size[1])
        if isinstance(instance, Mapping):
            mask = decode_rle(instance)
            if mask.shape != (height, width):
                mask = resize_masks(
                    mask[None], height=height, width=width, threshold=self.threshold
                )[0]
            return mask
        if isinstance(instance, PolygonInstance):
            return instance.get_mask_tensor()
        if isinstance(instance, Tensor | np.ndarray):
            return torch.as_tensor(instance)
        return PolygonInstance(instance, self.size).get_mask_tensor()

    def transpose(self, method: int) -> BinaryMaskList:
        """All masks after the image was mirrored."""
        check_flip(method)
        return self._with_masks(self.masks.flip(2 if method == FLIP_LEFT_RIGHT else 1))

    def crop(self, box: Any) -> BinaryMaskList:
        """All masks inside a box, its corners rounded to whole pixels; x2, y2 are outside."""
        x1, y1, x2, y2 = (round(float(value)) for value in box)
        width, height = int(self.size[0]), int(self.size[1])
        left, top = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
        right, bottom = min(max(x2, 0), width), min(max(y2, 0), height)
        right, bottom = max(right, left + 1), max(bottom, top + 1)
        return self._with_masks(self.masks[:, top:bottom, left:right])

    def resize(self, size: Sequence[float]) -> BinaryMaskList:
        """All masks resized to (width, height); see `resize_masks`."""
        width, height = int(size[0]), int(size[1])
        return self._with_masks(
            resize_masks(self.masks, height=height, width=width, threshold=self.threshold)
        )

    def to(self, *args: Any, **kwargs: Any) -> BinaryMaskList:
        """This object: masks stay where they are."""
        return self

    def get_mask_tensor(self) -> Tensor:
        """Masks (N, H, W), or (H, W) of a single instance."""
        return self.masks[0] if len(self.masks) == 1 else self.masks

    def __len__(self) -> int:
        return self.masks.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.masks)

    def __getitem__(self, item: Any) -> BinaryMaskList:
        return self._with_masks(self.masks[selected(item, len(self))])

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_instances={len(self)}, size={self.size})"

    def _with_masks(self, masks: Tensor) -> BinaryMaskList:
        """A list of these masks without another copy."""
        result = BinaryMaskList.__new__(BinaryMaskList)
        result.masks = masks
        result.size = (masks.shape[2], masks.shape[1])
        result.threshold = self.threshold
        return result
