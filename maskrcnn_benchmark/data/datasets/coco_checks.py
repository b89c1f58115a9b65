"""What each entry of a COCO annotation file must look like."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskrcnn_benchmark.data.datasets.coco_keypoints import keypoint_problem, visible_count
from maskrcnn_benchmark.data.datasets.problems import Problem

# Boxes of real data hang over the image by this much, from rounding and from drawing along the
# border; they are clipped as they always were.
OVERHANG_PIXELS = 2.0

# COCO 2014 and 2017 (train) contain two boxes without height, known since 2019
# (github.com/cocodataset/cocoapi/issues/355). Nobody should have to edit COCO.
# (annotation id, image id) -> box.
KNOWN_FLAT_BOXES = {
    (918, 200365): [296.65, 388.33, 1.03, 0.0],
    (2206849, 550395): [9.98, 188.56, 5.54, 0.0],
}

_NUMBER_TYPES = {int, float}
_MIN_POLYGON = 6
# Place of the last 5 bits of a run length in compressed text: no picture has more than 2 ** 45 pixels.
_MOST_BITS = 40


def category_problem(entry: Any, *, position: int, seen: Container[int]) -> Problem | None:
    """What is wrong with an entry of 'categories', if anything.

    Args:
        entry: the entry.
        position: its place in the list.
        seen: ids that came before.
    """
    if not isinstance(entry, dict) or type(entry.get("id")) is not int:
        return Problem(
            "malformed category",
            f"entry {position} of 'categories' must be an object with a whole number as id, "
            f"got {_short(entry)}",
        )
    if not isinstance(entry.get("name"), str) or not entry["name"]:
        return Problem("malformed category", f"category {entry['id']} has no name")
    if entry["id"] in seen:
        return Problem(
            "duplicate category id", f"category id {entry['id']} is declared more than once"
        )
    return None


def image_problem(entry: Any, *, position: int, seen: Mapping[int, Any]) -> Problem | None:
    """What is wrong with an entry of 'images', if anything.

    Args:
        entry: the entry; whole numbers written as 640.0 are made whole.
        position: its place in the list.
        seen: the entries that came before, by id.
    """
    if not isinstance(entry, dict) or type(entry.get("id")) is not int:
        return Problem(
            "malformed image",
            f"entry {position} of 'images' must be an object with a whole number as id, "
            f"got {_short(entry)}",
        )
    image_id, name = entry["id"], entry.get("file_name")
    if not isinstance(name, str) or not name:
        return Problem("malformed image", f"image {image_id} has no file_name")
    if image_id in seen:
        return Problem(
            "duplicate image id",
            f"image id {image_id} is used by '{seen[image_id]['file_name']}' and by '{name}'; "
            "ids must be unique",
        )
    for side in ("width", "height"):
        value: Any = entry.get(side)
        if type(value) not in _NUMBER_TYPES or value < 1 or value != value // 1:
            return Problem(
                "malformed image",
                f"image {image_id} ('{name}') must have a {side} in whole pixels, "
                f"got {_short(value)}",
            )
        entry[side] = int(value)
    return None


class AnnotationChecker:
    """Looks at the entries of 'annotations', one after the other."""

    def __init__(
        self,
        *,
        images: Mapping[int, Mapping[str, Any]],
        declared_images: Container[int],
        categories: Mapping[int, Any],
        full: bool,
        require_masks: bool,
    ) -> None:
        """Take what annotations refer to.

        Args:
            images: usable images by id.
            declared_images: ids of all images, also of those with problems of their own.
            categories: usable categories by id.
            full: also look at every polygon and keypoint.
            require_masks: every annotation but crowds must have a segmentation.
        """
        self._images = images
        self._declared_images = declared_images
        self._categories = categories
        self._full = full
        self._require_masks = require_masks
        self._seen: set[int] = set()

    def has_image(self, entry: Mapping[str, Any]) -> bool:
        """Whether the annotation's image is usable."""
        return entry["image_id"] in self._images

    def problem(self, entry: Any, *, position: int) -> Problem | None:
        """What is wrong with an annotation, if anything.

        Args:
            entry: the entry.
            position: its place in the list.
        """
        found = self._reference_problem(entry, position)
        if found or not self.has_image(entry):
            return found
        image = self._images[entry["image_id"]]
        where = f"annotation {entry['id']} (image {entry['image_id']}, '{image['file_name']}')"
        found = _box_problem(entry, image, where)
        if self._require_masks and not entry.get("segmentation") and not entry.get("iscrowd"):
            return Problem(
                "no segmentation",
                f"{where}: has no segmentation, but masks are to be trained or scored; add it, or "
                "leave masks out (MODEL.MASK_ON False)",
            )
        if self._full and (found is None or found.remedy != "left out"):
            found = _segmentation_problem(entry.get("segmentation"), image, where) or found
            keypoints = keypoint_problem(entry, self._categories[entry["category_id"]])
            if keypoints:
                return Problem("malformed keypoints", f"{where}: {keypoints}")
        return found

    def _reference_problem(self, entry: Any, position: int) -> Problem | None:
        """Ids that are missing, used twice, or lead nowhere."""
        if not isinstance(entry, dict) or type(entry.get("id")) is not int:
            return Problem(
                "malformed annotation",
                f"entry {position} of 'annotations' must be an object with a whole number as id, "
                f"got {_short(entry)}",
            )
        identity = f"annotation {entry['id']}"
        if entry["id"] in self._seen:
            return Problem("duplicate annotation id", f"{identity}: this id is used more than once")
        self._seen.add(entry["id"])
        image_id, category_id = entry.get("image_id"), entry.get("category_id")
        if type(image_id) is not int or image_id not in self._declared_images:
            return Problem(
                "unknown image",
                f"{identity}: image_id {_short(image_id)} is not among the file's images",
            )
        if type(category_id) is not int or category_id not in self._categories:
            declared = ", ".join(map(str, list(self._categories)[:10]))
            more = ", ..." if len(self._categories) > 10 else ""
            return Problem(
                "undeclared category",
                f"{identity} (image {image_id}): category_id {_short(category_id)} is not among "
                f"the file's categories ({declared}{more})",
            )
        if entry.get("iscrowd", 0) not in (0, 1):
            return Problem(
                "malformed annotation",
                f"{identity} (image {image_id}): iscrowd must be 0 or 1, "
                f"got {_short(entry['iscrowd'])}",
            )
        return None


def complete_annotation(entry: dict[str, Any]) -> None:
    """Add what the evaluation needs and many tools leave out: `iscrowd`, `area` and `num_keypoints`."""
    entry.setdefault("iscrowd", 0)
    if "keypoints" in entry:
        entry.setdefault("num_keypoints", visible_count(entry))
    if type(entry.get("area")) not in _NUMBER_TYPES:
        entry["area"] = _area(entry)


def _area(entry: Mapping[str, Any]) -> float:
    """Square pixels inside the polygons or run lengths, else of the box."""
    segmentation = entry.get("segmentation")
    if isinstance(segmentation, list) and segmentation:
        return sum(_polygon_area(polygon) for polygon in segmentation)
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], list):
        return float(sum(segmentation["counts"][1::2]))
    return float(entry["bbox"][2] * entry["bbox"][3])


def _polygon_area(polygon: list[float]) -> float:
    xs, ys = polygon[0::2], polygon[1::2]
    following = zip(xs[1:] + xs[:1], ys[1:] + ys[:1], strict=True)
    doubled = sum(x * y2 - x2 * y for x, y, (x2, y2) in zip(xs, ys, following, strict=True))
    return abs(doubled) / 2


def _box_problem(entry: Mapping[str, Any], image: Mapping[str, Any], where: str) -> Problem | None:
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not _are_finite(box):
        return Problem(
            "malformed box",
            f"{where}: bbox must be four numbers x, y, width, height, got {_short(box)}",
        )
    x, y, box_width, box_height = box
    if box_width <= 0 or box_height <= 0:
        if KNOWN_FLAT_BOXES.get((entry["id"], entry["image_id"])) == box:
            return None
        return Problem(
            "box of zero size", f"{where}: bbox {box} has no extent (x, y, width, height)"
        )
    width, height = image["width"], image["height"]
    if x >= width or y >= height or x + box_width <= 0 or y + box_height <= 0:
        return Problem(
            "box outside the image",
            f"{where}: bbox {box} (x, y, width, height) lies outside the image of "
            f"{width} x {height} pixels",
        )
    overhang = max(-x, -y, x + box_width - width, y + box_height - height)
    if overhang > OVERHANG_PIXELS:
        return Problem(
            "box partly outside the image",
            f"{where}: bbox {box} (x, y, width, height) reaches {overhang:g} pixels beyond the "
            f"image of {width} x {height} pixels",
            remedy="clipped",
        )
    return None


def _segmentation_problem(
    segmentation: Any, image: Mapping[str, Any], where: str
) -> Problem | None:
    if segmentation is None or segmentation == []:
        return None
    if isinstance(segmentation, dict):
        return _rle_problem(segmentation, image, where)
    if not isinstance(segmentation, list):
        return Problem(
            "malformed segmentation",
            f"{where}: segmentation must be a list of polygons or run-length code, "
            f"got {_short(segmentation)}",
        )
    for number, polygon in enumerate(segmentation):
        if not isinstance(polygon, list) or not _are_finite(polygon) or len(polygon) % 2:
            return Problem(
                "malformed segmentation",
                f"{where}: polygon {number} must be a flat list x0, y0, x1, y1, ... of finite "
                f"numbers, got {_short(polygon)}",
            )
        if len(polygon) < _MIN_POLYGON:
            return Problem(
                "polygon of fewer than 3 points",
                f"{where}: polygon {number} has {len(polygon) // 2} points, at least 3 are needed "
                f"to enclose anything: {polygon}",
            )
    return None


def _rle_problem(rle: Mapping[str, Any], image: Mapping[str, Any], where: str) -> Problem | None:
    counts, size = rle.get("counts"), rle.get("size")
    expected = [image["height"], image["width"]]
    if size != expected:
        return Problem(
            "run-length code of another size",
            f"{where}: run-length code must have the image's size {expected} (height, width), "
            f"got {_short(size)}",
        )
    total = expected[0] * expected[1]
    lengths = _decompress_counts(counts) if isinstance(counts, str) else _read_counts(counts)
    # pycocotools leaves the pixels beyond the last run as they happen to be in memory.
    if lengths is None or lengths.min(initial=0) < 0 or lengths.sum() != total:
        return Problem(
            "malformed segmentation",
            f"{where}: run lengths must be COCO's compressed text, or whole numbers from 0, that sum up to {total} "
            f"pixels, got {_short(counts)}",
        )
    return None


def _read_counts(counts: Any) -> NDArray[np.int64] | None:
    """Run lengths of a list; None where it is none, or not of whole numbers, be they written as 3 or as 3.0."""
    if not isinstance(counts, list) or not _are_finite(counts):
        return None
    numbers = np.array(counts, dtype=np.float64)
    return None if (numbers % 1).any() else numbers.astype(np.int64)


def _decompress_counts(text: str) -> NDArray[np.int64] | None:
    """Run lengths of COCO's compressed text; None where it is none.

    A number takes characters of 5 bits each, the lowest first; the 6th bit says that another follows. From the fourth
    on, a number is the difference from the one two places before (`rleFrString` in COCO's API).
    """
    codes = np.frombuffer(text.encode(errors="replace"), dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((codes & 32) == 0)
    if not ends.size or ends[-1] != len(codes) - 1 or codes.min() < 0 or codes.max() > 63:
        return None
    starts = np.concatenate(([0], ends[:-1] + 1))
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, ends - starts + 1))
    if shifts.max() > _MOST_BITS:
        return None
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    numbers -= np.where(codes[ends] & 16, 1 << (shifts[ends] + 5), 0)
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers


def _are_finite(values: list[Any]) -> bool:
    """Whether all entries are numbers, none of them infinite or not a number."""
    return _NUMBER_TYPES.issuperset(map(type, values)) and math.isfinite(sum(values))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
