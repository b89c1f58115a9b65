"""SegmentationMask: the masks of one image's instances, as polygons or as bit masks.

N: instances.    H, W: height and width of the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.structures.binary_masks import BinaryMaskList, decode_rle
from maskrcnn_benchmark.structures.outlines import outline_masks
from maskrcnn_benchmark.structures.polygons import PolygonInstance, PolygonList, Size

__all__ = [
    "BinaryMaskList",
    "PolygonInstance",
    "PolygonList",
    "SegmentationMask",
    "decode_rle",
]


class SegmentationMask:
    """Masks of the instances of one image, in the order of their boxes.

    Attributes:
        instances: PolygonList or BinaryMaskList.
        size: (width, height) of the image; whole numbers, except after a crop of polygons.
        mode: "poly" or "mask".
    """

    def __init__(self, instances: Any, size: Sequence[float], mode: str = "poly") -> None:
        """Take instances in whichever form they come.

        Args:
            instances: for "poly" a PolygonList, or per instance a list of flat polygons; for "mask"
                a tensor (N, H, W), a BinaryMaskList, or per instance a mask (H, W), an RLE dict or
                a list of flat polygons.
            size: (width, height) of the image.
            mode: how the masks are kept.

        Raises:
            ShapeError: for instances that do not fit the mode or the size.
            NotImplementedError: for another mode.
        """
        self.instances: PolygonList | BinaryMaskList
        if isinstance(instances, SegmentationMask):
            instances = instances.instances
        if mode == "poly":
            if isinstance(instances, BinaryMaskList | Tensor):
                raise ShapeError(
                    "bit masks need mode='mask'; SegmentationMask.convert('poly') outlines them"
                )
            self.instances = PolygonList(instances, size)
        elif mode == "mask":
            self.instances = BinaryMaskList(instances, size)
        else:
            raise NotImplementedError(f"mode must be 'poly' or 'mask', got {mode!r}")
        self.mode = mode

    @property
    def size(self) -> Size:
        """(width, height) of the image."""
        return self.instances.size

    def transpose(self, method: int) -> SegmentationMask:
        """All instances after the image was mirrored: FLIP_LEFT_RIGHT or FLIP_TOP_BOTTOM."""
        return self._with_instances(self.instances.transpose(method))

    def crop(self, box: Any) -> SegmentationMask:
        """All instances seen from a box (x1, y1, x2, y2)."""
        return self._with_instances(self.instances.crop(box))

    def resize(self, size: Sequence[float], *args: Any, **kwargs: Any) -> SegmentationMask:
        """All instances after the image was resized to (width, height)."""
        return self._with_instances(self.instances.resize(size))

    def to(self, *args: Any, **kwargs: Any) -> SegmentationMask:
        """This object: masks stay where they are until they are needed as tensors."""
        return self

    def convert(self, mode: str) -> SegmentationMask:
        """The same instances kept in another way; this object itself if it is in that mode already.

        Args:
            mode: "mask" draws the polygons; "poly" takes the outer outline of each part (holes are
                filled).
        """
        if mode == self.mode:
            return self
        if mode == "mask":
            return SegmentationMask(self.instances, self.size, mode="mask")
        if mode == "poly":
            outlines = [outline_masks(mask) for mask in self.as_masks()]
            return SegmentationMask(outlines, self.size, mode="poly")
        raise NotImplementedError(f"mode must be 'poly' or 'mask', got {mode!r}")

    @classmethod
    def cat(cls, parts: Sequence[SegmentationMask]) -> SegmentationMask:
        """The instances of several SegmentationMasks of one image and one mode."""
        first = parts[0]
        if first.mode == "poly":
            polygons = [instance for part in parts for instance in part.instances]
            return cls(polygons, first.size, mode="poly")
        return cls(torch.cat([part.as_masks() for part in parts]), first.size, mode="mask")

    def get_mask_tensor(self) -> Tensor:
        """Masks (N, H, W), or (H, W) of a single instance."""
        return self.instances.get_mask_tensor()

    def as_masks(self) -> Tensor:
        """Masks (N, H, W), whatever N."""
        if isinstance(self.instances, PolygonList):
            return self.instances.as_masks()
        return self.instances.masks

    def __len__(self) -> int:
        return len(self.instances)

    def __getitem__(self, item: Any) -> SegmentationMask:
        return self._with_instances(self.instances[item])

    def __iter__(self) -> Iterator[SegmentationMask]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(num_instances={len(self)}, size={self.size}, mode={self.mode})"
        )

    def _with_instances(self, instances: PolygonList | BinaryMaskList) -> SegmentationMask:
        """A SegmentationMask of these instances in the same mode, without copying them."""
        result = SegmentationMask.__new__(SegmentationMask)
        result.instances = instances
        result.mode = self.mode
        return result
