"""One image's nouns, batched and padded: what enters and leaves the network.

Inside the network there are no lists of boxes: every tensor has the images on its first axis, a fixed number of rows
on the second, and a mask that says which rows are real. Conversion from and to `BoxList` happens here, once on each
side.

B: images.    G: targets per image (at least 1), K: proposals, D: detections, each padded.    M: side of a mask.
P: keypoints of an object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from maskrcnn_benchmark.errors import DatasetError, ShapeError
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import make_keypoints
from maskrcnn_benchmark.structures.polygons import PolygonList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from maskrcnn_benchmark.structures.sizes import HeightWidth

_Packed = TypeVar("_Packed", "PackedMasks", "PaddedTargets")


class Proposals(NamedTuple):
    """Regions that may hold an object.

    Attributes:
        boxes: (B, K, 4) xyxy in network pixels.
        objectness: (B, K) probabilities, descending where valid.
        valid: (B, K) bool.
    """

    boxes: Tensor
    objectness: Tensor
    valid: Tensor


class PaddedDetections(NamedTuple):
    """What was found, best first.

    Attributes:
        boxes: (B, D, 4) xyxy in network pixels.
        scores: (B, D).
        labels: (B, D) int64, 1 or more.
        valid: (B, D) bool.
        masks: (B, D, M, M) probabilities inside each box, or None.
        keypoints: (B, D, P, 3) x, y in network pixels and 1, or None.
        keypoint_scores: (B, D, P), or None.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    valid: Tensor
    masks: Tensor | None = None
    keypoints: Tensor | None = None
    keypoint_scores: Tensor | None = None


@dataclass
class PackedMasks:
    """Target masks of a batch as flat tensors: no memory for empty space, and one move to another device.

    Instance i = image * G + row. Its outline is the polygon parts `instance_starts[i] : instance_starts[i + 1]`, part q
    having the vertices `part_starts[q] : part_starts[q + 1]` of `points`; or, where `windows[i, 4] >= 0`, a bitmap.

    Attributes:
        points: (P, 2) float32 x, y in network pixels.
        part_starts: (Q + 1,) int64.
        instance_starts: (B * G + 1,) int64.
        bits: (T,) uint8, bitmaps cut to their windows, row by row.
        windows: (B * G, 5) int64: x, y, width, height of the window, and where it begins in `bits` or -1.
    """

    points: Tensor
    part_starts: Tensor
    instance_starts: Tensor
    bits: Tensor
    windows: Tensor

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> PackedMasks:
        """The same masks on a device."""
        return _moved(self, device, non_blocking)


@dataclass
class PaddedTargets:
    """Ground truth of a batch.

    Attributes:
        boxes: (B, G, 4) xyxy in network pixels.
        labels: (B, G) int64, 1 or more (0 where padded).
        valid: (B, G) bool.
        seeds: (B,) int64, from which each image draws its samples.
        masks: or None.
        keypoints: (B, G, P, 3) x, y in network pixels, visibility (0 where padded), or None.
    """

    boxes: Tensor
    labels: Tensor
    valid: Tensor
    seeds: Tensor
    masks: PackedMasks | None = None
    keypoints: Tensor | None = None

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> PaddedTargets:
        """The same targets on a device."""
        return _moved(self, device, non_blocking)

    @classmethod
    def from_boxlists(
        cls,
        targets: Sequence[BoxList],
        *,
        with_masks: bool,
        with_keypoints: bool = False,
        num_classes: int | None = None,
        device: torch.device | str = "cpu",
    ) -> PaddedTargets:
        """Pad the targets of a batch.

        Args:
            targets: one per image, with the field `labels`, and `masks` (SegmentationMask) and `keypoints`
                (Keypoints) where wanted. An image without a `sample_seed` gets one from torch's global generator.
            with_masks: whether masks are needed.
            with_keypoints: whether keypoints are needed.
            num_classes: background included; None: labels are not checked.
            device: where the result lives.

        Raises:
            ShapeError: if a field is missing or does not have one entry per box.
            DatasetError: for a label of none of the classes.
        """
        # At least one row, so that a batch without any target needs no code of its own.
        count = max([1, *(len(target) for target in targets)])
        boxes = torch.zeros(len(targets), count, 4)
        labels = torch.zeros(len(targets), count, dtype=torch.int64)
        valid = torch.zeros(len(targets), count, dtype=torch.bool)
        for image, target in enumerate(targets):
            size = len(target)
            _require_field(target, "labels", image)
            boxes[image, :size] = target.convert("xyxy").bbox.cpu()
            labels[image, :size] = target.get_field("labels").cpu()
            valid[image, :size] = True
        if num_classes is not None:
            _check_labels(labels, num_classes)
        for name, is_wanted in (("masks", with_masks), ("keypoints", with_keypoints)):
            for image, target in enumerate(targets):
                if is_wanted and len(target):
                    _require_field(target, name, image)
        masks = _pack_masks(targets, count) if with_masks else None
        keypoints = _pad_keypoints(targets, count) if with_keypoints else None
        result = cls(boxes, labels, valid, _sample_seeds(targets), masks, keypoints)
        return result.to(device, non_blocking=True)


def detections_to_boxlists(
    detections: PaddedDetections, image_sizes: Sequence[HeightWidth]
) -> list[BoxList]:
    """One BoxList per image, in the old fields.

    These are scores, labels and, if there are any, mask (n, 1, M, M) and keypoints: PersonKeypoints where there are 17,
    else Keypoints, whose field `logits` (n, P) holds the scores.
    """
    result = []
    for image, (height, width) in enumerate(image_sizes):
        # Rows rather than a mask: with a mask, torch waits for a GPU once for each field.
        rows = detections.valid[image].nonzero().squeeze(1)
        boxlist = BoxList(detections.boxes[image][rows], (width, height), mode="xyxy")
        boxlist.add_field("scores", detections.scores[image][rows])
        boxlist.add_field("labels", detections.labels[image][rows])
        if detections.masks is not None:
            boxlist.add_field("mask", detections.masks[image][rows][:, None])
        if detections.keypoints is not None:
            keypoints = make_keypoints(detections.keypoints[image][rows], (width, height))
            if detections.keypoint_scores is not None:
                keypoints.add_field("logits", detections.keypoint_scores[image][rows])
            boxlist.add_field("keypoints", keypoints)
        result.append(boxlist)
    return result


def proposals_to_boxlists(
    proposals: Proposals, image_sizes: Sequence[HeightWidth]
) -> list[BoxList]:
    """One BoxList per image with the field `objectness`."""
    result = []
    for image, (height, width) in enumerate(image_sizes):
        rows = proposals.valid[image].nonzero().squeeze(1)
        boxlist = BoxList(proposals.boxes[image][rows], (width, height), mode="xyxy")
        boxlist.add_field("objectness", proposals.objectness[image][rows])
        result.append(boxlist)
    return result


def _moved(packed: _Packed, device: torch.device | str, non_blocking: bool) -> _Packed:
    values: dict[str, Any] = {}
    for field in fields(packed):
        value = getattr(packed, field.name)
        values[field.name] = value if value is None else value.to(device, non_blocking=non_blocking)
    return type(packed)(**values)


def _check_labels(labels: Tensor, num_classes: int) -> None:
    """Refuse labels (B, G) of no class, on the CPU still: a GPU would stop with an assertion of its kernels."""
    wrong = ((labels < 0) | (labels >= num_classes)).nonzero()
    if len(wrong):
        image, row = wrong[0].tolist()
        raise DatasetError(
            f"targets[{image}]: expected labels from 1 to {num_classes - 1}, got {int(labels[image, row])}. The model "
            f"has {num_classes} classes, background (0) included: set NUM_CLASSES of its head (ROI_BOX_HEAD, "
            "RETINANET), or correct the dataset's labels."
        )


def _require_field(target: BoxList, name: str, image: int) -> None:
    if not target.has_field(name):
        raise ShapeError(
            f"targets[{image}]: expected a BoxList with the field {name!r}, got the fields "
            f"{target.fields()}. Add it in the dataset's __getitem__."
        )
    if len(target.get_field(name)) != len(target):
        raise ShapeError(
            f"targets[{image}]: {len(target)} boxes, but {len(target.get_field(name))} entries in "
            f"the field {name!r}. Each box needs one."
        )


def _sample_seeds(targets: Sequence[BoxList]) -> Tensor:
    seeds = [target.sample_seed for target in targets]
    missing = sum(seed is None for seed in seeds)
    drawn = iter(torch.randint(0, 2**62, (missing,)).tolist() if missing else [])
    return torch.tensor(
        [next(drawn) if seed is None else seed for seed in seeds], dtype=torch.int64
    )


def _pad_keypoints(targets: Sequence[BoxList], count: int) -> Tensor:
    """(B, count, P, 3) from the `keypoints` fields; P is 0 where no image has an object."""
    fields = [
        None if not len(target) else target.get_field("keypoints").keypoints for target in targets
    ]
    numbers = {field.shape[1] for field in fields if field is not None}
    if len(numbers) > 1:
        raise ShapeError(
            f"All targets of a batch must have as many keypoints per object, got {sorted(numbers)}. "
            "Data sets that are trained on together must have the same keypoints."
        )
    result = torch.zeros(len(targets), count, max(numbers, default=0), 3)
    for image, field in enumerate(fields):
        if field is not None:
            result[image, : len(field)] = field.cpu()
    return result


def _pack_masks(targets: Sequence[BoxList], count: int) -> PackedMasks:
    """Flatten the `masks` fields; each image gets `count` instances, the padded ones without parts."""
    points: list[Tensor] = []
    part_starts, instance_starts = [0], [0]
    bits: list[Tensor] = []
    windows = torch.full((len(targets) * count, 5), -1, dtype=torch.int64)
    stored = 0
    for image, target in enumerate(targets):
        masks = target.get_field("masks") if len(target) else None
        for row in range(count):
            if isinstance(masks, SegmentationMask) and row < len(target):
                if isinstance(masks.instances, PolygonList):
                    for part in masks.instances.polygons[row].polygons:
                        points.append(part.reshape(-1, 2).float())
                        part_starts.append(part_starts[-1] + len(points[-1]))
                else:
                    bitmap, corner = _cut(masks.instances.masks[row])
                    height, width = bitmap.shape
                    windows[image * count + row] = torch.tensor(
                        [corner[0], corner[1], width, height, stored]
                    )
                    bits.append(bitmap.reshape(-1))
                    stored += bitmap.numel()
            instance_starts.append(len(points))
    return PackedMasks(
        points=torch.cat(points) if points else torch.zeros(0, 2),
        part_starts=torch.tensor(part_starts),
        instance_starts=torch.tensor(instance_starts),
        bits=torch.cat(bits) if bits else torch.zeros(0, dtype=torch.uint8),
        windows=windows,
    )


def _cut(mask: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """A bitmap (H, W) cut to its pixels, and the (x, y) of its corner."""
    mask = mask.to(torch.uint8)
    rows = mask.any(dim=1).nonzero()
    columns = mask.any(dim=0).nonzero()
    if not len(rows):
        return mask[:1, :1], (0, 0)
    top, bottom = int(rows[0]), int(rows[-1])
    left, right = int(columns[0]), int(columns[-1])
    return mask[top : bottom + 1, left : right + 1].contiguous(), (left, top)
