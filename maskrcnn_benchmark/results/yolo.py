"""Detections as YOLO's label files: one line for each object, coordinates divided by the image's sides.

`class x_center y_center width height`, or `class x1 y1 x2 y2 ...` where there are masks, each with the score at the end
where it is wanted. Classes are counted from 0, without the background.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.layers.boxes import LEGACY_OFFSET
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.masks import RLE, box_around, encode_polygons
from maskrcnn_benchmark.results.outlines import polygon_of
from maskrcnn_benchmark.structures.sizes import HeightWidth


def to_yolo(
    detections: Detections,
    *,
    with_masks: bool | None = None,
    with_scores: bool = True,
    tolerance: float = 0.0,
) -> str:
    """The text of a label file; an object whose mask has no pixel is left out.

    Args:
        detections: of one image.
        with_masks: polygons instead of boxes; None: where there are masks.
        with_scores: end each line with the score; training wants files without it.
        tolerance: see `outlines.polygons_of`.
    """
    height, width = detections.image_size
    lines = []
    is_polygon = detections.masks is not None if with_masks is None else with_masks
    masks = detections.check_masks() if is_polygon else [None] * len(detections)
    boxes = detections.boxes.astype(np.float64)
    boxes[:, 2:] += detections.box_offset
    for box, mask, label, score in zip(
        boxes, masks, detections.labels.tolist(), detections.scores.tolist(), strict=True
    ):
        if mask is None:
            values = np.concatenate(((box[:2] + box[2:]) / 2, box[2:] - box[:2]))
        else:
            values = polygon_of(mask, tolerance=tolerance).ravel()
        if not len(values):
            continue
        sides = np.resize([width, height], len(values))
        numbers = [f"{value:.8g}" for value in (values / sides).tolist()]
        lines.append(
            " ".join([str(label - 1), *numbers, *([f"{score:.6g}"] if with_scores else [])])
        )
    return "".join(f"{line}\n" for line in lines)


def from_yolo(
    text: str,
    *,
    image_size: HeightWidth,
    class_names: Sequence[str],
    path: str | None = None,
    box_offset: float = LEGACY_OFFSET,
) -> Detections:
    """Read a label file, boxes or polygons, with or without scores (1 where there is none).

    Args:
        text: of the file.
        image_size: height and width of the image, which the file does not know.
        class_names: name of each label, background first.
        path: file of the image.
        box_offset: see `Detections`.

    Raises:
        DatasetError: for a line that is neither a box nor a polygon, or a class that is not known.
    """
    boxes: list[list[float]] = []
    masks: list[RLE | None] = []
    scores: list[float] = []
    labels: list[int] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        label, values, score = _parse(line, number, len(class_names))
        box, mask = _place(values, HeightWidth(*image_size), box_offset)
        boxes.append(box)
        masks.append(mask)
        scores.append(score)
        labels.append(label)
    known = [mask for mask in masks if mask is not None]
    if 0 < len(known) < len(masks):
        raise DatasetError("the YOLO labels hold boxes and polygons; expected one kind of them")
    return Detections(
        image_size=HeightWidth(*image_size),
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        scores=np.array(scores),
        labels=np.array(labels, dtype=np.int64),
        class_names=tuple(class_names),
        masks=known or None,
        path=path,
        box_offset=box_offset,
    )


def _parse(line: str, number: int, num_classes: int) -> tuple[int, list[float], float]:
    """Label, coordinates and score of a line."""
    try:
        first, *values = (float(word) for word in line.split())
    except ValueError as error:
        raise DatasetError(f"YOLO labels, line {number}: expected numbers, got '{line}'") from error
    score = 1.0
    # Coordinates come in pairs.
    if len(values) % 2:
        score = values.pop()
    if len(values) < 4 or not all(np.isfinite(values)):
        raise DatasetError(
            f"YOLO labels, line {number}: expected a class and at least 4 coordinates, got '{line}'"
        )
    if first != int(first) or not 0 <= first < num_classes - 1:
        raise DatasetError(
            f"YOLO labels, line {number}: expected a class from 0 to {num_classes - 2}, got {first:g}"
        )
    return int(first) + 1, values, score


def _place(values: list[float], size: HeightWidth, offset: float) -> tuple[list[float], RLE | None]:
    """Box in pixels and mask, if it is a polygon."""
    height, width = size
    if len(values) == 4:
        x, y, w, h = values
        left, top = (x - w / 2) * width, (y - h / 2) * height
        return [left, top, left + w * width - offset, top + h * height - offset], None
    points = np.array(values).reshape(-1, 2) * [width, height]
    mask = encode_polygons([points.ravel().tolist()], height=height, width=width)
    left, top, w, h = box_around(mask)
    return [left, top, left + w - offset, top + h - offset], mask
