"""Pictures of what a test found, beside what is there."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from maskrcnn_benchmark.data.datasets.coco import COCODataset
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.results.coco import detections_from_coco
from maskrcnn_benchmark.results.comparison import draw_comparison
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.structures.sizes import HeightWidth
from maskrcnn_benchmark.utils.atomic import atomic_write
from maskrcnn_benchmark.utils.progress import track

_PAPER = (255, 255, 255)


def read_results(folder: str | os.PathLike[str]) -> dict[Any, list[dict[str, Any]]]:
    """Read the results a test left: image id -> entries with box, score and, if predicted, mask and keypoints.

    Args:
        folder: holds `bbox.json` and perhaps `segm.json` and `keypoints.json`.

    Raises:
        DatasetError: if they do not list the same objects, or there is no `bbox.json`.
    """
    path = Path(folder) / "bbox.json"
    if not path.is_file():
        raise DatasetError(f"expected the results of a test in {folder}, found no bbox.json there")
    entries = _load(path)
    for task, what in (("segm", "masks"), ("keypoints", "keypoints")):
        other_path = Path(folder) / f"{task}.json"
        if not other_path.is_file():
            continue
        more = _load(other_path)
        same = len(more) == len(entries) and all(
            one["image_id"] == box["image_id"] and one["score"] == box["score"]
            for one, box in zip(more, entries, strict=True)
        )
        if not same:
            raise DatasetError(
                f"{path} and {other_path} are not of the same test: {len(entries)} boxes, "
                f"{len(more)} {what}. Test again."
            )
        entries = [{**box, **one} for box, one in zip(entries, more, strict=True)]
    by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        by_image[entry["image_id"]].append(entry)
    return dict(by_image)


def _load(path: Path) -> list[dict[str, Any]]:
    with open(path, encoding="utf-8") as file:
        content: list[dict[str, Any]] = json.load(file)
    return content


def write_comparisons(
    dataset: COCODataset,
    result_folder: str | os.PathLike[str],
    output_folder: str | os.PathLike[str],
    *,
    count: int,
    min_score: float = 0.5,
    min_side: int = 320,
) -> list[Path]:
    """Draw what was found in the first images of a data set beside the ground truth.

    Args:
        dataset: the one that was tested, without transforms.
        result_folder: see `read_results`.
        output_folder: where pictures go, named after the images; made where it is missing.
        count: how many images at most.
        min_score: objects below it are not drawn.
        min_side: smaller images are enlarged until their shorter side has so many pixels.

    Returns:
        The files written, in the order of the data set.
    """
    results = read_results(result_folder)
    output_folder = Path(output_folder)
    output_folder.mkdir(parents=True, exist_ok=True)
    written = []
    for index in track(range(min(count, len(dataset))), "Drawing"):
        image, targets, _ = dataset[index]
        info = dataset.get_img_info(index)
        found = detections_from_coco(
            results.get(dataset.id_to_img_map[index], []),
            image_size=HeightWidth(height=image.height, width=image.width),
            class_names=dataset.class_names,
            labels_of_categories=dataset.json_category_id_to_contiguous_id,
            keypoint_schema=dataset.keypoint_schema,
        )
        there = Detections.from_targets(targets, class_names=dataset.class_names)
        picture = draw_comparison(image, found.filter(min_score), there, min_side=min_side)
        path = output_folder / f"{Path(info['file_name']).stem}.png"
        with atomic_write(path, "wb") as file:
            picture.save(file, format="PNG")
        written.append(path)
    return written


def tile_pictures(
    pictures: Sequence[Image.Image], *, columns: int, max_width: int = 2000
) -> Image.Image:
    """Set pictures in rows on one sheet, each scaled to the same width.

    Args:
        pictures: at least one.
        columns: pictures in a row.
        max_width: of the sheet, pixels.
    """
    gap = max_width // 200
    width = min((max_width - gap) // columns - gap, max(picture.width for picture in pictures))
    scaled = [
        picture.resize(
            (width, max(1, round(picture.height * width / picture.width))), Image.Resampling.LANCZOS
        )
        for picture in pictures
    ]
    rows = [scaled[start : start + columns] for start in range(0, len(scaled), columns)]
    heights = [max(picture.height for picture in row) for row in rows]
    columns = min(columns, len(scaled))
    sheet = Image.new(
        "RGB", (columns * (width + gap) + gap, sum(heights) + gap * (len(rows) + 1)), _PAPER
    )
    top = gap
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            sheet.paste(picture, (gap + column * (width + gap), top))
        top += height + gap
    return sheet
