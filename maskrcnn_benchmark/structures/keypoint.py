"""Keypoints: named points of each object of one image, each with a visibility.

The visibility v is COCO's: 0 not annotated (x and y mean nothing), 1 annotated but hidden, 2 visible; predicted
keypoints have 1.

N: objects.    K: keypoints of an object.    S: side of a heat map.    H, W: height and width of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.layers.keypoints import heat_map_targets
from maskrcnn_benchmark.structures.bounding_box import FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM
from maskrcnn_benchmark.structures.sizes import WidthHeight

Pair = tuple[int, int]
_Keypoints = TypeVar("_Keypoints", bound="Keypoints")


@dataclass(frozen=True, kw_only=True)
class KeypointSchema:
    """What the keypoints of a data set are.

    Attributes:
        names: (K) names.
        flip_pairs: keypoints (from 0) that change places in a mirrored image, such as left and right eye.
        skeleton: keypoints (from 0) between which a picture shows a line.
        sigmas: (K) tolerance of each keypoint in the evaluation as a share of the object's scale; empty where the
            data set does not say.
    """

    names: tuple[str, ...]
    flip_pairs: tuple[Pair, ...] = ()
    skeleton: tuple[Pair, ...] = ()
    sigmas: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check that all numbers belong to a keypoint.

        Raises:
            ShapeError: if they do not, or a keypoint is in two pairs.
        """
        count = len(self.names)
        for what, pairs in (("flip pair", self.flip_pairs), ("skeleton line", self.skeleton)):
            for pair in pairs:
                if not all(0 <= number < count for number in pair):
                    raise ShapeError(
                        f"{what} {tuple(pair)}: there are {count} keypoints, numbers 0 to {count - 1}"
                    )
        paired = [number for pair in self.flip_pairs for number in pair]
        if len(set(paired)) != len(paired):
            raise ShapeError(f"a keypoint is in more than one flip pair: {self.flip_pairs}")
        if self.sigmas and len(self.sigmas) != count:
            raise ShapeError(f"expected {count} sigmas, one per keypoint, got {len(self.sigmas)}")

    @property
    def flip_indices(self) -> list[int]:
        """Which keypoint takes the place of each in a mirrored image, (K)."""
        order = list(range(len(self.names)))
        for left, right in self.flip_pairs:
            order[left], order[right] = right, left
        return order

    @classmethod
    def unnamed(cls, count: int) -> KeypointSchema:
        """Keypoints of which only the number is known; 17 are taken to be a person's."""
        if count == len(PERSON.names):
            return PERSON
        return cls(names=tuple(f"keypoint {number}" for number in range(count)))

    @classmethod
    def from_dict(cls, content: Any) -> KeypointSchema | None:
        """Read what `to_dict` wrote; None for None."""
        if content is None:
            return None
        return cls(
            names=tuple(content["names"]),
            flip_pairs=tuple((int(a), int(b)) for a, b in content.get("flip_pairs", ())),
            skeleton=tuple((int(a), int(b)) for a, b in content.get("skeleton", ())),
            sigmas=tuple(float(sigma) for sigma in content.get("sigmas", ())),
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything in types that JSON knows."""
        return {
            "names": list(self.names),
            "flip_pairs": [list(pair) for pair in self.flip_pairs],
            "skeleton": [list(pair) for pair in self.skeleton],
            "sigmas": list(self.sigmas),
        }


_PERSON_NAMES = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)

# COCO's person. The lines are Detectron's; COCO's evaluation fixes the tolerances.
PERSON = KeypointSchema(
    names=_PERSON_NAMES,
    flip_pairs=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
    skeleton=(
        (1, 2),
        (1, 0),
        (2, 0),
        (2, 4),
        (1, 3),
        (6, 8),
        (8, 10),
        (5, 7),
        (7, 9),
        (12, 14),
        (14, 16),
        (11, 13),
        (13, 15),
        (6, 5),
        (12, 11),
    ),
    sigmas=(
        *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
        *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
    ),
)


class Keypoints:
    """Keypoints of the objects of one image, in the order of their boxes.

    Attributes:
        keypoints: (N, K, 3) float32: x, y in pixels, v.
        size: width and height of the image.
        mode: kept for old callers; means nothing.
        schema: names, flip pairs and skeleton.
        extra_fields: name -> field with one entry per object, `logits` (N, K) for predictions.
    """

    def __init__(
        self,
        keypoints: Any,
        size: Sequence[int],
        mode: Any = None,
        *,
        schema: KeypointSchema | None = None,
    ) -> None:
        """Take keypoints as a tensor or anything that converts to one.

        Args:
            keypoints: (N, K, 3), or flat as COCO writes them, (N, 3 * K).
            size: (width, height) of the image.
            mode: see the class.
            schema: what the keypoints are; None: a person's if there are 17, else without names.

        Raises:
            ShapeError: for another shape, or another K than the schema's.
        """
        device = keypoints.device if isinstance(keypoints, Tensor) else torch.device("cpu")
        points = torch.as_tensor(keypoints, dtype=torch.float32, device=device)
        if points.numel() == 0 and points.ndim < 3:
            points = points.reshape(0, len(schema.names) if schema else 0, 3)
        elif points.ndim == 2 and points.shape[1] % 3 == 0:
            points = points.reshape(len(points), -1, 3)
        if points.ndim != 3 or points.shape[2] != 3:
            raise ShapeError(
                f"keypoints must have shape (N, K, 3) or (N, 3 * K): x, y, visibility; got {tuple(points.shape)}"
            )
        if schema is not None and points.shape[1] != len(schema.names):
            raise ShapeError(
                f"expected {len(schema.names)} keypoints per object "
                f"({', '.join(schema.names[:3])}, ...), got {points.shape[1]}"
            )
        width, height = size
        self.keypoints = points
        self.size = WidthHeight(width, height)
        self.mode = mode
        self.schema = KeypointSchema.unnamed(points.shape[1]) if schema is None else schema
        self.extra_fields: dict[str, Any] = {}

    def resize(self: _Keypoints, size: Sequence[int], *args: Any, **kwargs: Any) -> _Keypoints:
        """The same keypoints after the image was resized to (width, height)."""
        new_size = WidthHeight(*size)
        ratio = [new_size.width / self.size[0], new_size.height / self.size[1], 1.0]
        result = self._with_points(self.keypoints * self.keypoints.new_tensor(ratio), new_size)
        return self._move_fields(result, "resize", new_size, *args, **kwargs)

    def transpose(self: _Keypoints, method: int) -> _Keypoints:
        """The same keypoints after the image was mirrored: FLIP_LEFT_RIGHT or FLIP_TOP_BOTTOM.

        Left and right of each flip pair change places (any mirroring turns a left hand into a right one), along with
        the tensor fields that have one entry per keypoint. Keypoints with v = 0 are zeroed.
        """
        if method not in (FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM):
            raise NotImplementedError(
                f"only FLIP_LEFT_RIGHT (0) and FLIP_TOP_BOTTOM (1) are supported, got {method!r}"
            )
        order = torch.tensor(self.schema.flip_indices, device=self.keypoints.device).long()
        flipped = self.keypoints[:, order]
        axis = 0 if method == FLIP_LEFT_RIGHT else 1
        flipped[..., axis] = self.size[axis] - 1 - flipped[..., axis]
        result = self._with_points(_zero_absent(flipped), self.size)
        self._move_fields(result, "transpose", method)
        for name, field in result.extra_fields.items():
            if isinstance(field, Tensor) and field.ndim > 1 and field.shape[1] == len(order):
                result.extra_fields[name] = field[:, order.to(field.device)]
        return result

    def crop(self: _Keypoints, box: Sequence[float]) -> _Keypoints:
        """The keypoints seen from a box (x1, y1, x2, y2); those outside it become v = 0."""
        left, top, right, bottom = (float(value) for value in box)
        x, y = self.keypoints[..., 0], self.keypoints[..., 1]
        inside = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
        moved = self.keypoints - self.keypoints.new_tensor([left, top, 0.0])
        moved[..., 2] = torch.where(inside, moved[..., 2], 0.0)
        # Whole numbers in, whole numbers out, as BoxList.crop.
        size = WidthHeight(box[2] - box[0], box[3] - box[1])  # type: ignore[arg-type]
        return self._move_fields(self._with_points(_zero_absent(moved), size), "crop", box)

    def to(self: _Keypoints, *args: Any, **kwargs: Any) -> _Keypoints:
        """Keypoints and every field that has `to`, on another device."""
        result = self._with_points(self.keypoints.to(*args, **kwargs), self.size)
        for name, field in self.extra_fields.items():
            moved = field.to(*args, **kwargs) if hasattr(field, "to") else field
            result.add_field(name, moved)
        return result

    @classmethod
    def cat(cls: type[_Keypoints], parts: Sequence[_Keypoints]) -> _Keypoints:
        """The objects of several of one image; the fields of all must be tensors of the same names."""
        first = parts[0]
        result = first._with_points(torch.cat([part.keypoints for part in parts]), first.size)
        for name in first.extra_fields:
            result.add_field(name, torch.cat([part.get_field(name) for part in parts]))
        return result

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
            raise KeyError(f"no field {field!r}; there are {list(self.extra_fields)}") from None

    def has_field(self, field: str) -> bool:
        """Whether a field of this name is set."""
        return field in self.extra_fields

    def __len__(self) -> int:
        return self.keypoints.shape[0]

    def __getitem__(self: _Keypoints, item: Any) -> _Keypoints:
        """Some of the objects: a slice, a mask (N,), indices, or one index (one object)."""
        if isinstance(item, int):
            item = range(len(self))[item]
            item = slice(item, item + 1)
        result = self._with_points(self.keypoints[item], self.size)
        for name, field in self.extra_fields.items():
            result.add_field(name, field[item])
        return result

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(num_instances={len(self)}, num_keypoints={self.keypoints.shape[1]}, "
            f"image_width={self.size[0]}, image_height={self.size[1]})"
        )

    def _with_points(self: _Keypoints, points: Tensor, size: WidthHeight) -> _Keypoints:
        """The same kind of keypoints without fields."""
        return type(self)(points, size, self.mode, schema=self.schema)

    def _move_fields(
        self, result: _Keypoints, method: str, *args: Any, **kwargs: Any
    ) -> _Keypoints:
        for name, field in self.extra_fields.items():
            move = None if isinstance(field, Tensor) else getattr(field, method, None)
            result.add_field(name, move(*args, **kwargs) if move else field)
        return result


class PersonKeypoints(Keypoints):
    """COCO's 17 keypoints of a person."""

    NAMES: ClassVar[list[str]] = list(PERSON.names)
    FLIP_MAP: ClassVar[dict[str, str]] = {
        PERSON.names[left]: PERSON.names[right] for left, right in PERSON.flip_pairs
    }
    FLIP_INDS: ClassVar[list[int]] = PERSON.flip_indices
    CONNECTIONS: ClassVar[list[list[int]]] = [list(line) for line in PERSON.skeleton]

    # For those that the old project pickled.
    schema = PERSON

    def __init__(
        self,
        keypoints: Any,
        size: Sequence[int],
        mode: Any = None,
        *,
        schema: KeypointSchema | None = None,
    ) -> None:
        """See `Keypoints`; the schema is a person's."""
        super().__init__(keypoints, size, mode, schema=schema or PERSON)


def make_keypoints(
    keypoints: Any, size: Sequence[int], schema: KeypointSchema | None = None
) -> Keypoints:
    """PersonKeypoints where there are 17 keypoints, otherwise Keypoints."""
    result = Keypoints(keypoints, size, schema=schema)
    if result.keypoints.shape[1] != len(PERSON.names):
        return result
    return PersonKeypoints(result.keypoints, size, schema=result.schema)


def keypoints_to_heat_map(
    keypoints: Tensor, rois: Tensor, heatmap_size: int
) -> tuple[Tensor, Tensor]:
    """The cell of a heat map over each region in which each keypoint lies.

    Args:
        keypoints: (N, K, 3).
        rois: (N, 4) xyxy.
        heatmap_size: S.

    Returns:
        y * S + x of the cell (0 where there is none), and 1 where there is one, else 0; both (N, K) int64.
    """
    targets, valid = heat_map_targets(keypoints, rois, size=heatmap_size)
    return targets, valid.long()


def _zero_absent(keypoints: Tensor) -> Tensor:
    """Keypoints with v = 0 at (0, 0)."""
    return torch.where(keypoints[..., 2:] == 0, 0.0, keypoints)
