"""Detections: what was found in one image, in that image's own pixels.

The one type that evaluation, writers, drawing and every way of running a model speak. It is made of numpy arrays,
so that reading it needs no tensor library.

N: objects.    H, W: image height and width.    M: side of a predicted mask.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL.Image import Image
from torch import Tensor

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.layers.boxes import LEGACY_OFFSET
from maskrcnn_benchmark.numerics import PasteStyle
from maskrcnn_benchmark.results.keypoints import THRESHOLDS, FoundKeypoints
from maskrcnn_benchmark.results.masks import (
    RLE,
    BoolArray,
    area_of,
    decode_mask,
    encode_network_masks,
    encode_targets,
)
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import KeypointSchema
from maskrcnn_benchmark.structures.sizes import HeightWidth

# Names of what a region proposal network finds: it knows no classes.
PROPOSAL_CLASS_NAMES = ("__background__", "object")


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Detections:
    """Objects of one image.

    Attributes:
        image_size: height and width of the image.
        boxes: (N, 4) float32 xyxy in pixels of the image.
        scores: (N,) float32, between 0 and 1.
        labels: (N,) int64, positions in `class_names`.
        class_names: name of each label; 0 is the background.
        masks: (N) run lengths, each of the whole image; None where no masks were predicted.
        keypoints: of each object; None where no keypoints were predicted.
        image_id: what the data set calls the image.
        path: file the image came from.
        box_offset: width = x2 - x1 + box_offset; 1 for inclusive corners, 0 for continuous ones.
    """

    image_size: HeightWidth
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    masks: list[RLE] | None = None
    image_id: int | str | None = None
    path: str | None = None
    box_offset: float = LEGACY_OFFSET
    keypoints: FoundKeypoints | None = None

    def __post_init__(self) -> None:
        """Bring everything to its declared type.

        Raises:
            ShapeError: if the parts do not fit each other.
        """
        fields: dict[str, Any] = {
            "image_size": HeightWidth(*(int(side) for side in self.image_size)),
            "boxes": np.asarray(self.boxes, dtype=np.float32),
            "scores": np.asarray(self.scores, dtype=np.float32),
            "labels": np.asarray(self.labels, dtype=np.int64),
            "class_names": tuple(self.class_names),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        count = len(self.boxes)
        if self.boxes.shape != (count, 4):
            raise ShapeError(f"boxes must have shape (N, 4), got {self.boxes.shape}")
        for name, shape in (("scores", self.scores.shape), ("labels", self.labels.shape)):
            if shape != (count,):
                raise ShapeError(f"{name} must have shape ({count},) like the boxes, got {shape}")
        if count and not 0 <= self.labels.min() <= self.labels.max() < len(self.class_names):
            raise ShapeError(
                f"labels must lie between 0 and {len(self.class_names) - 1}, the last of the "
                f"{len(self.class_names)} class names (background included); "
                f"got {self.labels.min()} to {self.labels.max()}"
            )
        if self.keypoints is not None and len(self.keypoints) != count:
            raise ShapeError(
                f"expected keypoints for each of {count} boxes, got them for {len(self.keypoints)}"
            )
        if self.masks is None:
            return
        if len(self.masks) != count:
            raise ShapeError(f"expected one mask for each of {count} boxes, got {len(self.masks)}")
        for index, mask in enumerate(self.masks):
            if tuple(mask["size"]) != self.image_size:
                raise ShapeError(
                    f"mask {index} has size {tuple(mask['size'])}, "
                    f"the image {tuple(self.image_size)} (height, width)"
                )

    # From elsewhere

    @classmethod
    def from_boxlist(
        cls,
        boxlist: BoxList,
        *,
        image_size: HeightWidth,
        class_names: Sequence[str],
        mask_threshold: float = 0.5,
        mask_padding: int = 1,
        mask_paste: PasteStyle = "integer",
        box_offset: float = LEGACY_OFFSET,
        keypoint_schema: KeypointSchema | None = None,
        keypoint_threshold: float = THRESHOLDS["logit"],
        keypoint_offset: float = 0.0,
        image_id: int | str | None = None,
        path: str | None = None,
    ) -> Detections:
        """What the network returned, moved to the pixels of the original image.

        Args:
            boxlist: boxes in pixels of the network's input, with `scores` and `labels`, and perhaps `mask`:
                (N, 1, M, M) probabilities inside each box, or bool masks of the whole input, and `keypoints`
                (Keypoints). Proposals have `objectness` instead of scores; their labels become 1.
            image_size: height and width of the original image.
            class_names: name of each label.
            mask_threshold: pixels above it (strictly) belong to the object.
            mask_padding: see `layers.masks.paste_window`.
            mask_paste: its `style`.
            box_offset: see the class.
            keypoint_schema: what the network's keypoints are; None: a person's if there are 17, else without names.
            keypoint_threshold: see `FoundKeypoints`.
            keypoint_offset: see `FoundKeypoints.from_field`.
            image_id: see the class.
            path: see the class.
        """
        image_size = HeightWidth(*image_size)
        moved = boxlist.copy_with_fields(("mask", "keypoints"), skip_missing=True)
        resized = moved.convert("xyxy").resize(image_size[::-1])
        masks = keypoints = None
        if resized.has_field("mask"):
            masks = encode_network_masks(
                resized.get_field("mask"),
                resized.bbox,
                image_size=image_size,
                threshold=mask_threshold,
                padding=mask_padding,
                style=mask_paste,
            )
        if resized.has_field("keypoints"):
            keypoints = FoundKeypoints.from_field(
                resized.get_field("keypoints"),
                schema=keypoint_schema,
                threshold=keypoint_threshold,
                offset=keypoint_offset,
            )
        scores, labels, class_names = _read_scores(boxlist, class_names)
        return cls(
            image_size=image_size,
            boxes=_to_numpy(resized.bbox),
            scores=scores,
            labels=labels,
            class_names=tuple(class_names),
            masks=masks,
            image_id=image_id,
            path=path,
            box_offset=box_offset,
            keypoints=keypoints,
        )

    @classmethod
    def from_targets(
        cls,
        targets: BoxList,
        *,
        class_names: Sequence[str],
        image_size: HeightWidth | None = None,
        image_id: int | str | None = None,
        path: str | None = None,
    ) -> Detections:
        """Ground truth as if it had been found with certainty (score 1).

        Args:
            targets: boxes with `labels` and perhaps `masks` and `keypoints`.
            class_names: name of each label.
            image_size: height and width of the image; None where the targets are in its pixels already.
            image_id: see the class.
            path: see the class.
        """
        if image_size is not None and image_size[::-1] != targets.size:
            targets = targets.resize(image_size[::-1])
        return cls(
            image_size=targets.size.transposed(),
            boxes=_to_numpy(targets.convert("xyxy").bbox),
            scores=np.ones(len(targets), dtype=np.float32),
            labels=_to_numpy(targets.get_field("labels")),
            class_names=tuple(class_names),
            masks=encode_targets(targets.get_field("masks"))
            if targets.has_field("masks")
            else None,
            image_id=image_id,
            path=path,
            keypoints=FoundKeypoints.from_field(targets.get_field("keypoints"))
            if targets.has_field("keypoints")
            else None,
        )

    # Selection

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: slice | ArrayLike) -> Detections:
        """Some of the objects, always as Detections.

        Args:
            index: a slice, one position, several positions, or a bool for each object.
        """
        positions = np.atleast_1d(np.arange(len(self))[index])  # type: ignore[index]
        return replace(
            self,
            boxes=self.boxes[positions],
            scores=self.scores[positions],
            labels=self.labels[positions],
            masks=None if self.masks is None else [self.masks[int(i)] for i in positions],
            keypoints=None if self.keypoints is None else self.keypoints[positions],
        )

    def filter(
        self,
        score: float | None = None,
        *,
        labels: Iterable[int | str] | int | str | None = None,
        area: tuple[float, float] | None = None,
    ) -> Detections:
        """The objects that fulfil all conditions.

        Args:
            score: theirs is above it (strictly).
            labels: theirs is one of these, numbers or class names.
            area: theirs in pixels, see `areas`, is in this range, the upper end excluded.

        Raises:
            ShapeError: for a class that is not known.
        """
        chosen = np.ones(len(self), dtype=np.bool_)
        if score is not None:
            chosen &= self.scores > score
        if labels is not None:
            is_one = isinstance(labels, int | str) or getattr(labels, "ndim", None) == 0
            wanted: Any = [labels] if is_one else labels
            chosen &= np.isin(self.labels, [self._label_of(label) for label in wanted])
        if area is not None:
            areas = self.areas()
            chosen &= (areas >= area[0]) & (areas < area[1])
        return self[chosen]

    def _label_of(self, label: int | str) -> int:
        if isinstance(label, str):
            if label not in self.class_names:
                raise ShapeError(
                    f"there is no class '{label}', only {', '.join(self.class_names[1:])}"
                )
            return self.class_names.index(label)
        if not 0 <= int(label) < len(self.class_names):
            raise ShapeError(f"there is no class {label}, only 0 to {len(self.class_names) - 1}")
        return int(label)

    def sorted(self) -> Detections:
        """The same objects, those of the highest score first."""
        return self[np.argsort(-self.scores, kind="stable")]

    def with_source(
        self, *, path: str | None = None, image_id: int | str | None = None
    ) -> Detections:
        """The same, said to be from this file and of this image."""
        return replace(self, path=path, image_id=image_id)

    @staticmethod
    def concatenate(parts: Sequence[Detections]) -> Detections:
        """The objects of several detections of one image, in their order.

        Raises:
            ShapeError: if there are none, or some are of another size, or have masks or keypoints and others not.
        """
        if not parts:
            raise ShapeError("expected at least one part to concatenate, got none")
        has_masks = parts[0].masks is not None
        if any((part.masks is not None) != has_masks for part in parts):
            raise ShapeError("some parts have masks and others have not")
        return replace(
            parts[0],
            boxes=np.concatenate([part.boxes for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
            labels=np.concatenate([part.labels for part in parts]),
            masks=[mask for part in parts for mask in part.masks or ()] if has_masks else None,
            keypoints=FoundKeypoints.concatenate([part.keypoints for part in parts]),
        )

    # What it says

    def areas(self) -> NDArray[np.float64]:
        """Pixels (N,) of each mask; of each box, where there are no masks."""
        if self.masks is not None:
            return np.array([area_of(mask) for mask in self.masks], dtype=np.float64)
        areas: NDArray[np.float64] = self.boxes_xywh()[:, 2:].prod(axis=1)
        return areas

    @property
    def names(self) -> list[str]:
        """Class name of each object."""
        return [self.class_names[label] for label in self.labels]

    def dense_masks(self) -> BoolArray:
        """Masks (N, H, W); N * H * W bytes.

        Raises:
            ShapeError: if there are no masks.
        """
        dense = np.zeros((len(self), *self.image_size), dtype=np.bool_)
        for canvas, mask in zip(dense, self.check_masks(), strict=True):
            canvas[:] = decode_mask(mask)
        return dense

    def check_masks(self) -> list[RLE]:
        """The masks.

        Raises:
            ShapeError: if there are no masks.
        """
        if self.masks is None:
            raise ShapeError("these detections have no masks: the model predicts boxes only")
        return self.masks

    def boxes_xywh(self) -> NDArray[np.float64]:
        """Boxes (N, 4) as x, y, width, height, in the shortest decimals that name the same float32.

        So a file says 258.15 and not 258.1499938964844, and a box read from one goes back as it came: overlaps that
        lie exactly on a threshold would be decided by the last bit otherwise.
        """
        xyxy = _shortest_decimals(self.boxes)
        sizes = np.round(xyxy[:, 2:] - xyxy[:, :2] + self.box_offset, 9)
        return np.concatenate((xyxy[:, :2], sizes), axis=1)

    def to_coco(
        self,
        category_ids: Mapping[int, int] | None = None,
        image_id: int | str | None = None,
    ) -> list[dict[str, Any]]:
        """Entries of a COCO results file: image_id, category_id, bbox, score and perhaps segmentation and keypoints.

        Keypoints are flat, x, y, visibility; the scores of predicted ones are in `keypoint_scores`, which COCO's own
        tools pass over.

        Args:
            category_ids: label -> category id of the data set; None where labels are the ids.
            image_id: overrides the one known to this object.
        """
        image_id = self.image_id if image_id is None else image_id
        scores = _shortest_decimals(self.scores).tolist()
        entries: list[dict[str, Any]] = []
        for index, (label, box, score) in enumerate(
            zip(self.labels.tolist(), self.boxes_xywh().tolist(), scores, strict=True)
        ):
            category = label if category_ids is None else category_ids[label]
            entry = {"image_id": image_id, "category_id": category, "bbox": box, "score": score}
            if self.masks is not None:
                entry["segmentation"] = self.masks[index]
            if self.keypoints is not None:
                entry.update(self.keypoints.to_coco(index))
            entries.append(entry)
        return entries

    def to_dict(self) -> dict[str, Any]:
        """Everything in types that JSON knows."""
        return {
            "image_id": self.image_id,
            "path": self.path,
            "height": self.image_size.height,
            "width": self.image_size.width,
            "class_names": list(self.class_names),
            "box_offset": self.box_offset,
            "boxes": _shortest_decimals(self.boxes).tolist(),
            "scores": _shortest_decimals(self.scores).tolist(),
            "labels": self.labels.tolist(),
            "names": self.names,
            "masks": self.masks,
            "keypoints": None if self.keypoints is None else self.keypoints.to_dict(),
        }

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict())

    def to_supervision(self) -> Any:
        """The same as `supervision.Detections`: see `results.supervision.to_supervision`."""
        from maskrcnn_benchmark.results.supervision import to_supervision

        return to_supervision(self)

    # What it looks like

    def draw(self, image: Any, **options: Any) -> Image:
        """A picture of the objects over their image: see `results.drawing.draw`."""
        from maskrcnn_benchmark.results.drawing import draw

        return draw(image, self, **options)

    def crop(self, image: Any, **options: Any) -> list[Image]:
        """A picture of each object: see `results.cropping.crop`."""
        from maskrcnn_benchmark.results.cropping import crop

        return crop(image, self, **options)

    def __repr__(self) -> str:
        found = ", ".join(
            f"{name} {score:.2f}" for name, score in zip(self.names[:5], self.scores, strict=False)
        )
        more = f", and {len(self) - 5} more" if len(self) > 5 else ""
        height, width = self.image_size
        return f"Detections({len(self)} in {width}x{height}{': ' if found else ''}{found}{more})"


def _to_numpy(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array


def _shortest_decimals(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The float64 numbers with the fewest digits that round to these."""
    return values.astype(np.str_).astype(np.float64)


def _read_scores(
    boxlist: BoxList, class_names: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.int64], Sequence[str]]:
    """Scores, labels and class names of a network's detections or proposals."""
    if boxlist.has_field("scores"):
        scores = boxlist.get_field("scores").float()
        return _to_numpy(scores), _to_numpy(boxlist.get_field("labels")), class_names
    scores = boxlist.get_field("objectness").float()
    return _to_numpy(scores), np.ones(len(boxlist), dtype=np.int64), PROPOSAL_CLASS_NAMES
