"""Polygons of the instances of one image.

A polygon is a flat float32 tensor x0, y0, x1, y1, ...; an instance has any number of them (parts of
one object).

H, W: height and width of the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.structures.bounding_box import FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM

# (width, height). Whole numbers, except after a crop, which keeps the fractions of its box.
Size = tuple[float, float]

# A polygon needs three points to enclose anything.
MIN_NUMBERS = 6


def rasterize_polygons(polygons: Sequence[Tensor], *, height: int, width: int) -> Tensor:
    """Union of polygons as a uint8 mask (H, W) of 0 and 1, drawn as COCO's API draws them."""
    if not polygons:
        return torch.zeros((height, width), dtype=torch.uint8)
    encoded = coco_mask.frPyObjects([polygon.tolist() for polygon in polygons], height, width)
    mask = coco_mask.decode(coco_mask.merge(encoded))
    return torch.from_numpy(np.ascontiguousarray(mask))


def check_flip(method: int) -> None:
    """Raise NotImplementedError unless `method` is one of the two mirrorings."""
    if method not in (FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM):
        raise NotImplementedError(
            f"only FLIP_LEFT_RIGHT (0) and FLIP_TOP_BOTTOM (1) are supported, got {method!r}"
        )


def crop_corner(box: Any, size: Size) -> tuple[float, float, float, float]:
    """Corners of a crop box as numbers, the upper left one moved into the image.

    Args:
        box: (x1, y1, x2, y2), a tensor or any sequence.
        size: width and height of the image.

    Returns:
        x1 and y1 inside the image, then width and height of the box as it was given: without +1,
        not clipped, and 1 where the box has no extent (the old project divided by zero there).
    """
    x1, y1, x2, y2 = (float(value) for value in box)
    width, height = x2 - x1, y2 - y1
    left = min(max(x1, 0.0), size[0] - 1)
    top = min(max(y1, 0.0), size[1] - 1)
    return left, top, width if width > 0 else 1.0, height if height > 0 else 1.0


class PolygonInstance:
    """The polygons of one instance. It may have none: its mask is empty then.

    Attributes:
        polygons: flat tensors x0, y0, x1, y1, ...
        size: (width, height) of the image.
    """

    def __init__(self, polygons: PolygonInstance | Sequence[Any], size: Sequence[float]) -> None:
        """Take polygons; those of fewer than three points enclose nothing and are left out.

        Args:
            polygons: flat sequences or tensors of an even number of coordinates.
            size: (width, height) of the image.

        Raises:
            ShapeError: for a polygon that is not flat, or has an odd number of coordinates.
        """
        parts = polygons.polygons if isinstance(polygons, PolygonInstance) else polygons
        if isinstance(parts, dict | str):
            raise ShapeError(
                f"expected a list of flat polygons, got a {type(parts).__name__}; "
                "RLE masks need SegmentationMask(..., mode='mask')"
            )
        self.polygons: list[Tensor] = []
        for part in parts:
            polygon = torch.as_tensor(part, dtype=torch.float32)
            if polygon.ndim == 1 and len(polygon) < MIN_NUMBERS:
                continue
            if polygon.ndim != 1 or len(polygon) % 2:
                raise ShapeError(
                    "a polygon must be flat, x0, y0, x1, y1, ..., with an even number of values; "
                    f"got shape {tuple(polygon.shape)}"
                )
            self.polygons.append(polygon)
        width, height = size
        self.size: Size = (width, height)

    def transpose(self, method: int) -> PolygonInstance:
        """The instance after the image was mirrored."""
        check_flip(method)
        axis = 0 if method == FLIP_LEFT_RIGHT else 1
        flipped = []
        for polygon in self.polygons:
            mirrored = polygon.clone()
            mirrored[axis::2] = self.size[axis] - 1 - polygon[axis::2]
            flipped.append(mirrored)
        return PolygonInstance(flipped, self.size)

    def crop(self, box: Any) -> PolygonInstance:
        """The instance seen from a box (x1, y1, x2, y2); points outside it are not clipped."""
        left, top, width, height = crop_corner(box, self.size)
        origin = torch.tensor([left, top])
        moved = [(polygon.view(-1, 2) - origin).view(-1) for polygon in self.polygons]
        return PolygonInstance(moved, (width, height))

    def resize(self, size: Sequence[float]) -> PolygonInstance:
        """The instance after the image was resized to (width, height)."""
        width, height = size
        ratio = torch.tensor([width / self.size[0], height / self.size[1]])
        scaled = [(polygon.view(-1, 2) * ratio).view(-1) for polygon in self.polygons]
        return PolygonInstance(scaled, (width, height))

    def get_mask_tensor(self) -> Tensor:
        """The union of the polygons as a uint8 mask (H, W)."""
        width, height = self.size
        return rasterize_polygons(self.polygons, height=int(height), width=int(width))

    def __getstate__(self) -> dict[str, Any]:
        # As plain arrays: between processes, each tensor would take a file descriptor of its own.
        return {"polygons": [polygon.numpy() for polygon in self.polygons], "size": self.size}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.polygons = [torch.from_numpy(polygon) for polygon in state["polygons"]]
        self.size = state["size"]

    def __len__(self) -> int:
        return len(self.polygons)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_polygons={len(self)}, size={self.size})"


class PolygonList:
    """The instances of one image, in the order of their boxes.

    Attributes:
        polygons: one PolygonInstance per instance.
        size: (width, height) of the image.
    """

    def __init__(self, instances: PolygonList | Sequence[Any], size: Sequence[float]) -> None:
        """Take instances.

        Args:
            instances: for each instance a list of flat polygons, or a PolygonInstance.
            size: (width, height) of the image.
        """
        width, height = size
        self.size: Size = (width, height)
        given = instances.polygons if isinstance(instances, PolygonList) else instances
        self.polygons: list[PolygonInstance] = [
            instance
            if isinstance(instance, PolygonInstance) and instance.size == self.size
            else PolygonInstance(instance, self.size)
            for instance in given
        ]

    def transpose(self, method: int) -> PolygonList:
        """All instances after the image was mirrored."""
        check_flip(method)
        return PolygonList([p.transpose(method) for p in self.polygons], self.size)

    def crop(self, box: Any) -> PolygonList:
        """All instances seen from a box (x1, y1, x2, y2)."""
        _, _, width, height = crop_corner(box, self.size)
        return PolygonList([p.crop(box) for p in self.polygons], (width, height))

    def resize(self, size: Sequence[float]) -> PolygonList:
        """All instances after the image was resized to (width, height)."""
        return PolygonList([p.resize(size) for p in self.polygons], size)

    def to(self, *args: Any, **kwargs: Any) -> PolygonList:
        """This object: polygons stay where they are."""
        return self

    def get_mask_tensor(self) -> Tensor:
        """uint8 masks (N, H, W), or (H, W) of a single instance."""
        masks = self.as_masks()
        return masks[0] if len(masks) == 1 else masks

    def as_masks(self) -> Tensor:
        """uint8 masks (N, H, W)."""
        width, height = int(self.size[0]), int(self.size[1])
        if not self.polygons:
            return torch.zeros((0, height, width), dtype=torch.uint8)
        return torch.stack([instance.get_mask_tensor() for instance in self.polygons])

    def __len__(self) -> int:
        return len(self.polygons)

    def __iter__(self) -> Iterator[PolygonInstance]:
        return iter(self.polygons)

    def __getitem__(self, item: Any) -> PolygonList:
        return PolygonList([self.polygons[i] for i in selected(item, len(self))], self.size)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_instances={len(self)}, size={self.size})"


def selected(item: Any, count: int) -> list[int]:
    """The indices that an index, slice, mask or list of indices selects of `count` things."""
    if isinstance(item, int):
        return [range(count)[item]]
    if isinstance(item, slice):
        return list(range(count)[item])
    chosen = torch.as_tensor(item)
    if chosen.dtype in (torch.bool, torch.uint8):
        if chosen.ndim != 1 or len(chosen) != count:
            raise IndexError(f"a mask must have {count} entries, got {tuple(chosen.shape)}")
        return [int(i) for i in chosen.nonzero().squeeze(1).tolist()]
    return [range(count)[int(i)] for i in chosen.reshape(-1).tolist()]
