"""Results as files. Each file takes its name only when it is complete."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from maskrcnn_benchmark.results.coco import coco_document
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.utils.atomic import atomic_write

PathLike = str | os.PathLike[str]

CSV_COLUMNS = ("image_id", "path", "class", "score", "x1", "y1", "x2", "y2")


def write_json(path: PathLike, content: Any) -> None:
    """Write anything that JSON knows."""
    with atomic_write(path) as file:
        json.dump(content, file)


def write_coco(
    path: PathLike,
    detections: Iterable[Detections],
    *,
    category_ids: Mapping[int, int] | None = None,
) -> None:
    """Write images, categories and annotations with scores: see `coco_document`."""
    write_json(path, coco_document(detections, category_ids=category_ids))


def write_csv(path: PathLike, detections: Iterable[Detections]) -> None:
    """Write one line for each object: its image, class, score and corners."""
    with atomic_write(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for found in detections:
            # float32 is written with the digits it has.
            for name, score, box in zip(found.names, found.scores, found.boxes, strict=True):
                writer.writerow([found.image_id, found.path, name, score, *box])
