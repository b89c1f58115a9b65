"""To and from `supervision.Detections`, for its trackers, zones and annotators.

Its boxes are continuous (width = x2 - x1), and its classes count from 0, without the background.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from maskrcnn_benchmark.errors import MissingExtraError
from maskrcnn_benchmark.layers.boxes import LEGACY_OFFSET
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.masks import encode_mask
from maskrcnn_benchmark.structures.sizes import HeightWidth


def to_supervision(detections: Detections) -> Any:
    """The same as `supervision.Detections`, with dense masks and the names in `data["class_name"]`.

    Raises:
        MissingExtraError: if supervision is not installed.
    """
    try:
        import supervision
    except ImportError as error:
        raise MissingExtraError(
            "supervision", extra="supervision", purpose="to_supervision()"
        ) from error
    return supervision.Detections(**supervision_fields(detections))


def supervision_fields(detections: Detections) -> dict[str, Any]:
    """The arguments of `supervision.Detections`."""
    boxes = detections.boxes.copy()
    boxes[:, 2:] += detections.box_offset
    return {
        "xyxy": boxes,
        "mask": None if detections.masks is None else detections.dense_masks(),
        "confidence": detections.scores.copy(),
        "class_id": (detections.labels - 1).astype(int),
        "data": {"class_name": np.array(detections.names, dtype=np.str_)},
    }


def from_supervision(
    found: Any,
    *,
    image_size: HeightWidth,
    class_names: Sequence[str],
    path: str | None = None,
    box_offset: float = LEGACY_OFFSET,
) -> Detections:
    """Detections of an object with `xyxy`, `confidence`, `class_id` and `mask`, as supervision has them.

    Args:
        found: see above; without confidence scores are 1, without classes all are of the first.
        image_size: height and width of the image.
        class_names: name of each label, background first.
        path: file of the image.
        box_offset: see `Detections`.
    """
    boxes = np.array(found.xyxy, dtype=np.float32).reshape(-1, 4)
    boxes[:, 2:] -= box_offset
    count = len(boxes)
    labels = np.zeros(count, dtype=np.int64) if found.class_id is None else found.class_id
    return Detections(
        image_size=image_size,
        boxes=boxes,
        scores=np.ones(count, dtype=np.float32)
        if found.confidence is None
        else np.asarray(found.confidence, dtype=np.float32),
        labels=np.asarray(labels, dtype=np.int64) + 1,
        class_names=tuple(class_names),
        masks=None
        if found.mask is None
        else [encode_mask(np.asarray(mask)) for mask in found.mask],
        path=path,
        box_offset=box_offset,
    )
