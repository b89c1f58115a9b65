"""Detections as LabelMe's annotation files, one for each image, to be corrected by hand and read back.

The scores of objects are kept in `score`, which LabelMe carries along.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.layers.boxes import LEGACY_OFFSET
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.masks import (
    RLE,
    box_around,
    empty_rle,
    encode_polygons,
    encode_window,
)
from maskrcnn_benchmark.results.outlines import polygons_of
from maskrcnn_benchmark.results.windows import unite
from maskrcnn_benchmark.structures.sizes import HeightWidth

_VERSION = "5.5.0"


def to_labelme(
    detections: Detections, *, image_path: str | None = None, tolerance: float = 0.0
) -> dict[str, Any]:
    """An annotation file: polygons where there are masks (the parts of one object in one group), else rectangles.

    Args:
        detections: of one image.
        image_path: as seen from the annotation file; None: the one of the detections.
        tolerance: see `outlines.polygons_of`; at 1 a person has fewer points to move.
    """
    shapes: list[dict[str, Any]] = []
    for index, (name, score) in enumerate(
        zip(detections.names, detections.scores.tolist(), strict=True)
    ):
        about = {"label": name, "score": round(score, 6), "group_id": None, "description": ""}
        if detections.masks is None:
            x1, y1, x2, y2 = detections.boxes[index].tolist()
            offset = detections.box_offset
            corners = [[x1, y1], [x2 + offset, y2 + offset]]
            shapes.append({**about, "points": corners, "shape_type": "rectangle", "flags": {}})
            continue
        parts = polygons_of(detections.masks[index], tolerance=tolerance)
        if len(parts) > 1:
            about["group_id"] = index + 1
        for part in parts:
            points = part.tolist()
            shapes.append({**about, "points": points, "shape_type": "polygon", "flags": {}})
    height, width = detections.image_size
    return {
        "version": _VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": image_path or detections.path or "",
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def from_labelme(
    document: Mapping[str, Any],
    class_names: Sequence[str],
    *,
    box_offset: float = LEGACY_OFFSET,
) -> Detections:
    """Read an annotation file: polygons, rectangles, circles and masks; shapes of one group are one object.

    An object has the box around its shapes; where all of them are rectangles there are no masks. A shape without a
    score has 1.

    Args:
        document: the file's content.
        class_names: name of each label, background first.
        box_offset: see `Detections`.

    Raises:
        DatasetError: for a label that is no class, or a shape without an area.
    """
    size = HeightWidth(int(document["imageHeight"]), int(document["imageWidth"]))
    objects: dict[Any, list[Mapping[str, Any]]] = {}
    for position, shape in enumerate(document["shapes"]):
        group = shape.get("group_id")
        key = ("alone", position) if group is None else (shape["label"], group)
        objects.setdefault(key, []).append(shape)
    groups = list(objects.values())
    is_boxes = all(shape["shape_type"] == "rectangle" for group in groups for shape in group)
    masks = [unite([_mask_of(shape, size) for shape in group]) for group in groups]
    boxes = [
        _corners(group) if is_boxes else _box_of(mask)
        for group, mask in zip(groups, masks, strict=True)
    ]
    array = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    array[:, 2:] -= box_offset
    return Detections(
        image_size=size,
        boxes=array,
        scores=np.array([_score_of(group[0]) for group in groups]),
        labels=np.array([_label_of(group[0], class_names) for group in groups], dtype=np.int64),
        class_names=tuple(class_names),
        masks=None if is_boxes else masks,
        path=document.get("imagePath") or None,
        box_offset=box_offset,
    )


def _score_of(shape: Mapping[str, Any]) -> float:
    score = shape.get("score")
    return 1.0 if score is None else float(score)


def _label_of(shape: Mapping[str, Any], class_names: Sequence[str]) -> int:
    name = str(shape["label"])
    if name not in class_names:
        raise DatasetError(
            f"LabelMe shape '{name}': expected one of the classes {', '.join(class_names[1:])}"
        )
    return list(class_names).index(name)


def _corners(group: Sequence[Mapping[str, Any]]) -> list[float]:
    points = np.concatenate([np.array(shape["points"], dtype=np.float64) for shape in group])
    return [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]


def _box_of(mask: RLE) -> list[float]:
    left, top, width, height = box_around(mask)
    return [left, top, left + width, top + height]


def _mask_of(shape: Mapping[str, Any], size: HeightWidth) -> RLE:
    points = np.array(shape["points"], dtype=np.float64).reshape(-1, 2)
    kind = shape["shape_type"]
    if kind == "mask":
        return _embedded_mask(shape, points, size)
    if kind == "rectangle":
        (x1, y1), (x2, y2) = points.min(axis=0), points.max(axis=0)
        points = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
    elif kind == "circle":
        radius = float(np.hypot(*(points[1] - points[0])))
        turns = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        points = points[0] + radius * np.stack((np.cos(turns), np.sin(turns)), axis=1)
    elif kind != "polygon":
        raise DatasetError(
            f"LabelMe shape '{shape['label']}' is a {kind}; expected polygon, rectangle, circle or mask"
        )
    return encode_polygons([points.ravel().tolist()], height=size.height, width=size.width)


def _embedded_mask(shape: Mapping[str, Any], points: Any, size: HeightWidth) -> RLE:
    """A PNG inside the file, of the part of the image between two corners."""
    with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as image:
        window = np.asarray(image.convert("L")) > 0
    left, top = (int(value) for value in points.min(axis=0))
    window = window[: size.height - top, : size.width - left]
    if not window.size:
        return empty_rle(height=size.height, width=size.width)
    return encode_window(window, top=top, left=left, height=size.height, width=size.width)
