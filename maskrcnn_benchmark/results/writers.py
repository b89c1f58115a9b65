"""Results as files. Each file takes its name only when it is complete."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.layers.boxes import LEGACY_OFFSET
from maskrcnn_benchmark.results.coco import coco_document
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.structures.sizes import HeightWidth
from maskrcnn_benchmark.utils.atomic import atomic_write

PathLike = str | os.PathLike[str]

CSV_COLUMNS = (
    *("image_id", "path", "class", "score", "x1", "y1", "x2", "y2"),
    *("image_width", "image_height"),
)
# An image id that was one; others are names, such as 007.
_NUMBER = re.compile(r"0|-?[1-9][0-9]*")


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
    with atomic_write(path, "wb") as raw:
        # Names of files may hold bytes that are no UTF-8; they are written as they are.
        file = io.TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape", newline="")
        writer = csv.writer(file, lineterminator="\n")
        # Quotes a lone carriage return, too, which readers take for the end of a line.
        quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(CSV_COLUMNS)
        for found in detections:
            # float32 is written with the digits it has.
            for name, score, box in zip(found.names, found.scores, found.boxes, strict=True):
                height, width = found.image_size
                row = [found.image_id, found.path, name, score, *box, width, height]
                has_return = any("\r" in str(each) for each in row[:3])
                (quoting if has_return else writer).writerow(row)
        file.detach()


def read_csv(
    path: PathLike, class_names: Sequence[str], *, box_offset: float = LEGACY_OFFSET
) -> list[Detections]:
    """Read what `write_csv` wrote: one entry for each image that has an object, in the order of the file.

    Args:
        path: the file.
        class_names: name of each label, background first.
        box_offset: see `Detections`.

    Raises:
        DatasetError: if a column is missing, or a class or number is none.
    """
    images: dict[tuple[str, str], list[dict[str, str]]] = {}
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file)
        missing = set(CSV_COLUMNS) - set(reader.fieldnames or ())
        if missing:
            raise DatasetError(f"{path} lacks the columns {', '.join(sorted(missing))}")
        for row in reader:
            images.setdefault((row["image_id"], row["path"]), []).append(row)
    try:
        return [_from_rows(rows, list(class_names), box_offset) for rows in images.values()]
    except ValueError as error:
        raise DatasetError(f"{path}: {error}") from error


def _from_rows(rows: list[dict[str, str]], names: list[str], box_offset: float) -> Detections:
    first = rows[0]
    image_id: int | str | None = first["image_id"] or None
    if _NUMBER.fullmatch(first["image_id"]):
        image_id = int(first["image_id"])
    return Detections(
        image_size=HeightWidth(int(first["image_height"]), int(first["image_width"])),
        boxes=np.array([[float(row[key]) for key in ("x1", "y1", "x2", "y2")] for row in rows]),
        scores=np.array([float(row["score"]) for row in rows]),
        labels=np.array([names.index(row["class"]) for row in rows]),
        class_names=tuple(names),
        image_id=image_id,
        path=first["path"] or None,
        box_offset=box_offset,
    )
