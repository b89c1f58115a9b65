"""What the keypoints of a COCO annotation file are: from its category records, its annotations, or the config.

A category record names its keypoints (`keypoints`), the lines between them (`skeleton`, counted from 1), and may give
their tolerances in the evaluation (`sigmas`), which COCO itself does not.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from maskrcnn_benchmark.errors import DatasetError, ShapeError
from maskrcnn_benchmark.structures.keypoint import PERSON, KeypointSchema, Pair

logger = logging.getLogger(__name__)

# How the two sides are told apart in names: left_eye, eyeLeft, l_eye, eye_l.
_SIDES = (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"))
_SHORT_SIDES = (
    (r"^l(?=[_\- ])", "r"),
    (r"^L(?=[_\- ])", "R"),
    (r"(?<=[_\- ])l$", "r"),
    (r"(?<=[_\- ])L$", "R"),
)


def find_keypoint_schema(
    path: str,
    content: Mapping[str, Any],
    *,
    flip_pairs: Sequence[Pair] = (),
    sigmas: Sequence[float] = (),
) -> KeypointSchema | None:
    """What the keypoints of an annotation file are; None if it has none.

    Args:
        path: the file, for messages.
        content: the file as it was parsed.
        flip_pairs: override those that follow from the names.
        sigmas: override the file's.

    Raises:
        DatasetError: if objects have different numbers of keypoints, or a number does not fit the others.
    """
    records = [category for category in content["categories"] if category.get("keypoints")]
    annotations = [entry for entry in content.get("annotations", ()) if entry.get("keypoints")]
    counts = {len(record["keypoints"]) for record in records}
    counts |= {len(entry["keypoints"]) // 3 for entry in annotations}
    if not counts:
        return None
    if len(counts) > 1:
        raise DatasetError(
            f"{path}: objects have {' or '.join(map(str, sorted(counts)))} keypoints. All must have as many: "
            "the network predicts one list of keypoints for every object"
        )
    count = counts.pop()
    try:
        schema = _read_record(records[0]) if records else KeypointSchema.unnamed(count)
        if flip_pairs:
            schema = replace(schema, flip_pairs=tuple(flip_pairs))
        if sigmas:
            schema = replace(schema, sigmas=tuple(sigmas))
    except ShapeError as error:
        raise DatasetError(
            f"{path}: {error}. Correct the category record, or DATASETS.KEYPOINT_FLIP_PAIRS and "
            "DATASETS.KEYPOINT_OKS_SIGMAS"
        ) from error
    return schema


def pair_sides(names: Sequence[str]) -> tuple[Pair, ...]:
    """The keypoints whose names differ only in left and right."""
    numbers = {name: number for number, name in enumerate(names)}
    pairs = []
    for name, number in numbers.items():
        other = next((numbers[each] for each in _mirrored(name) if each in numbers), None)
        if other is not None:
            pairs.append((number, other))
    return tuple(pairs)


def keypoint_problem(entry: Mapping[str, Any], category: Mapping[str, Any]) -> str | None:
    """What is wrong with an annotation's keypoints, if anything.

    Args:
        entry: the annotation.
        category: its category's record.
    """
    keypoints = entry.get("keypoints")
    if keypoints is None or keypoints == []:
        return None
    if not isinstance(keypoints, list) or not _are_numbers(keypoints) or len(keypoints) % 3:
        return f"keypoints must be a flat list x, y, visibility, ... of finite numbers, got {str(keypoints)[:60]}"
    declared = category.get("keypoints")
    if declared and len(keypoints) != 3 * len(declared):
        return (
            f"its category {category.get('name')!r} has {len(declared)} keypoints, so {3 * len(declared)} numbers "
            f"are needed, got {len(keypoints)}"
        )
    if not {0, 1, 2}.issuperset(keypoints[2::3]):
        return f"a keypoint's visibility must be 0, 1 or 2, got {sorted(set(keypoints[2::3]))}"
    return None


def visible_count(entry: Mapping[str, Any]) -> int:
    """How many keypoints of an annotation are annotated."""
    return sum(visibility > 0 for visibility in (entry.get("keypoints") or ())[2::3])


def _read_record(category: Mapping[str, Any]) -> KeypointSchema:
    names = tuple(str(name) for name in category["keypoints"])
    sigmas = tuple(float(sigma) for sigma in category.get("sigmas") or ())
    if not sigmas and len(names) == len(PERSON.names):
        # As COCO's evaluation has it: 17 keypoints are a person's.
        sigmas = PERSON.sigmas
    lines = [(int(a) - 1, int(b) - 1) for a, b in category.get("skeleton") or ()]
    usable = [line for line in lines if all(0 <= number < len(names) for number in line)]
    if len(usable) < len(lines):
        # CrowdPose's own files have COCO's lines with 14 keypoints. Only pictures need them.
        logger.warning(
            "category %r: %d of the %d lines of its skeleton end at keypoints that it does not have, and are not drawn",
            category.get("name"),
            len(lines) - len(usable),
            len(lines),
        )
    return KeypointSchema(
        names=names, flip_pairs=pair_sides(names), skeleton=tuple(usable), sigmas=sigmas
    )


def _mirrored(name: str) -> Iterable[str]:
    for left, right in _SIDES:
        if left in name:
            yield name.replace(left, right)
    for pattern, right in _SHORT_SIDES:
        if re.search(pattern, name):
            yield re.sub(pattern, right, name)


def _are_numbers(values: list[Any]) -> bool:
    return {int, float}.issuperset(map(type, values)) and abs(sum(values)) < float("inf")
