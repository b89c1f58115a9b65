"""BoxList: the boxes of one image, with any number of fields that belong to them.

Boxes are absolute pixels, float32, inclusive corners (width = x2 - x1 + 1); see
docs/explanation/conventions.md.

N: boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.layers.boxes import LEGACY_OFFSET, box_area
from maskrcnn_benchmark.structures.sizes import WidthHeight

FLIP_LEFT_RIGHT = 0
FLIP_TOP_BOTTOM = 1

MODES = ("xyxy", "xywh")


class BoxList:
    """Boxes of one image.

    A field is whatever has one entry per box: a tensor whose first axis is N, or an object that can
    be indexed and, where it lives in the image (masks, keypoints), has `resize`, `crop` and
    `transpose` of its own.

    Attributes:
        bbox: (N, 4) float32 in the current mode.
        size: width and height of the image.
        mode: "xyxy" (corners, inclusive) or "xywh" (corner, width, height).
        extra_fields: name -> field.
        sample_seed: number that is a function of (run seed, epoch, sample index) alone. Whoever
            draws random numbers for this image draws them from it, so that the draw does not depend
            on the process that makes it.
    """

    # BoxLists that the old project pickled have none; their sizes are plain pairs, as are those that callers assign.
    sample_seed: int | None = None

    def __init__(self, bbox: Any, image_size: Sequence[int], mode: str = "xyxy") -> None:
        """Take boxes (N, 4) as a tensor or anything that converts to one.

        Args:
            bbox: (N, 4), copied only where it is not a float32 tensor yet.
            image_size: (width, height).
            mode: what the four numbers mean.

        Raises:
            ShapeError: for another shape.
            ValueError: for another mode.
        """
        device = bbox.device if isinstance(bbox, Tensor) else torch.device("cpu")
        boxes = torch.as_tensor(bbox, dtype=torch.float32, device=device)
        if boxes.ndim != 2 or boxes.shape[-1] != 4:
            raise ShapeError(
                f"bbox must have shape (N, 4), got {tuple(boxes.shape)}; "
                "for an image without boxes pass torch.zeros(0, 4)"
            )
        if mode not in MODES:
            raise ValueError(f"mode must be 'xyxy' or 'xywh', got {mode!r}")
        width, height = image_size
        self.bbox = boxes
        self.size = WidthHeight(width, height)
        self.mode = mode
        self.extra_fields: dict[str, Any] = {}

    # Fields

    def add_field(self, field: str, field_data: Any) -> None:
        """Set a field, replacing one of the same name."""
        self.extra_fields[field] = field_data

    def get_field(self, field: str) -> Any:
        """The field of this name.

        Raises:
            KeyError: if there is none; the message lists those there are.
        """
        try:
            return self.extra_fields[field]
        except KeyError:
            raise KeyError(f"no field {field!r}; this BoxList has {self.fields()}") from None

    def has_field(self, field: str) -> bool:
        """Whether a field of this name is set."""
        return field in self.extra_fields

    def fields(self) -> list[str]:
        """Names of all fields in the order they were set."""
        return list(self.extra_fields)

    def copy_with_fields(self, fields: str | Iterable[str], skip_missing: bool = False) -> BoxList:
        """The same boxes (shared, not copied) with some of the fields.

        Args:
            fields: one name or several.
            skip_missing: leave out names that are not set instead of raising KeyError.
        """
        names = [fields] if isinstance(fields, str) else fields
        result = self._with_boxes(self.bbox)
        for name in names:
            if self.has_field(name) or not skip_missing:
                result.add_field(name, self.get_field(name))
        return result

    # Geometry

    def convert(self, mode: str) -> BoxList:
        """The same boxes in another mode; this object itself if it is in that mode already."""
        if mode not in MODES:
            raise ValueError(f"mode must be 'xyxy' or 'xywh', got {mode!r}")
        if mode == self.mode:
            return self
        first, second = self.bbox[:, :2], self.bbox[:, 2:]
        if mode == "xyxy":
            converted = torch.cat((first, first + (second - LEGACY_OFFSET).clamp(min=0)), dim=1)
        else:
            converted = torch.cat((first, second - first + LEGACY_OFFSET), dim=1)
        result = self._with_boxes(converted, mode=mode)
        result.extra_fields = dict(self.extra_fields)
        return result

    def resize(self, size: Sequence[int], *args: Any, **kwargs: Any) -> BoxList:
        """Boxes and fields after the image was resized.

        Args:
            size: new (width, height).
            args: handed to the `resize` of fields that have one.
            kwargs: likewise.
        """
        new_size = WidthHeight(*size)
        ratio_x = new_size.width / self.size[0]
        ratio_y = new_size.height / self.size[1]
        if ratio_x == ratio_y:
            result = self._with_boxes(self.bbox * ratio_x, size=new_size)
        else:
            corners = self.convert("xyxy").bbox
            scaled = corners * corners.new_tensor([ratio_x, ratio_y, ratio_x, ratio_y])
            result = self._with_boxes(scaled, size=new_size, mode="xyxy").convert(self.mode)
        return self._move_fields(result, "resize", new_size, *args, **kwargs)

    def transpose(self, method: int) -> BoxList:
        """Boxes and fields after the image was mirrored.

        Args:
            method: FLIP_LEFT_RIGHT or FLIP_TOP_BOTTOM.
        """
        if method not in (FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM):
            raise NotImplementedError(
                f"only FLIP_LEFT_RIGHT (0) and FLIP_TOP_BOTTOM (1) are supported, got {method!r}"
            )
        x1, y1, x2, y2 = self.convert("xyxy").bbox.unbind(dim=1)
        if method == FLIP_LEFT_RIGHT:
            last = self.size[0] - LEGACY_OFFSET
            flipped = torch.stack((last - x2, y1, last - x1, y2), dim=1)
        else:
            # Detectron: no such flip. The old project left out the -1, so that a box and its mask
            # parted by a pixel.
            last = self.size[1] - LEGACY_OFFSET
            flipped = torch.stack((x1, last - y2, x2, last - y1), dim=1)
        result = self._with_boxes(flipped, mode="xyxy").convert(self.mode)
        return self._move_fields(result, "transpose", method)

    def crop(self, box: Sequence[float]) -> BoxList:
        """Boxes and fields inside a rectangle; boxes outside it become empty and stay.

        Args:
            box: (x1, y1, x2, y2); the new size is (x2 - x1, y2 - y1).
        """
        left, top, right, bottom = box
        width, height = right - left, bottom - top
        x1, y1, x2, y2 = self.convert("xyxy").bbox.unbind(dim=1)
        cropped = torch.stack(
            (
                (x1 - left).clamp(min=0, max=width),
                (y1 - top).clamp(min=0, max=height),
                (x2 - left).clamp(min=0, max=width),
                (y2 - top).clamp(min=0, max=height),
            ),
            dim=1,
        )
        # Whole numbers in, whole numbers out.
        size = WidthHeight(width, height)  # type: ignore[arg-type]
        result = self._with_boxes(cropped, size=size, mode="xyxy").convert(self.mode)
        return self._move_fields(result, "crop", box)

    def clip_to_image(self, remove_empty: bool = True) -> BoxList:
        """Boxes with all corners moved into the image; this object is left as it is.

        Args:
            remove_empty: drop boxes that are left without extent (x2 <= x1 or y2 <= y1).
        """
        corners = self.convert("xyxy").bbox
        limit = corners.new_tensor([*self.size, *self.size]) - LEGACY_OFFSET
        clipped = torch.minimum(corners.clamp(min=0), limit)
        result = self._with_boxes(clipped, mode="xyxy").convert(self.mode)
        result.extra_fields = dict(self.extra_fields)
        if not remove_empty:
            return result
        return result[(clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])]

    def area(self) -> Tensor:
        """Areas (N,) in square pixels."""
        if self.mode == "xyxy":
            return box_area(self.bbox, offset=LEGACY_OFFSET)
        return self.bbox[:, 2] * self.bbox[:, 3]

    # Container

    def to(self, device: Any) -> BoxList:
        """Boxes and every field that has `to`, on another device."""
        result = self._with_boxes(self.bbox.to(device))
        for name, field in self.extra_fields.items():
            result.add_field(name, field.to(device) if hasattr(field, "to") else field)
        return result

    def __getitem__(self, item: Any) -> BoxList:
        """Some of the boxes with their fields.

        Args:
            item: a slice, a mask (N,), indices, or one index (which gives a BoxList of one box).
        """
        if isinstance(item, int):
            item = range(len(self))[item]  # raises IndexError at the end, which ends a for loop
            item = slice(item, item + 1)
        result = self._with_boxes(self.bbox[item])
        for name, field in self.extra_fields.items():
            result.add_field(name, field[item])
        return result

    def __len__(self) -> int:
        return self.bbox.shape[0]

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(num_boxes={len(self)}, image_width={self.size[0]}, "
            f"image_height={self.size[1]}, mode={self.mode})"
        )

    def _with_boxes(
        self, bbox: Tensor, *, size: WidthHeight | None = None, mode: str | None = None
    ) -> BoxList:
        """A BoxList of the same image without fields."""
        result = BoxList(bbox, size or self.size, mode or self.mode)
        result.sample_seed = self.sample_seed
        return result

    def _move_fields(self, result: BoxList, method: str, *args: Any, **kwargs: Any) -> BoxList:
        """Add each field to `result`, after the field's own `method` where it has one."""
        for name, field in self.extra_fields.items():
            move: Callable[..., Any] | None = (
                None if isinstance(field, Tensor) else getattr(field, method, None)
            )
            result.add_field(name, move(*args, **kwargs) if move else field)
        return result
