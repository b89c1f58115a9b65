"""What COCO's evaluation of keypoints wants besides: tolerances, and complete annotations and results.

K: keypoints of an object.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.structures.keypoint import PERSON

# Where nobody says how exact a keypoint can be: about that of a person's shoulders and elbows, less strict than eyes.
DEFAULT_SIGMA = 0.05

logger = logging.getLogger(__name__)


def find_sigmas(
    categories: Sequence[Mapping[str, Any]],
    targets: Sequence[Mapping[str, Any]],
    given: Sequence[float] = (),
) -> tuple[float, ...]:
    """The tolerance of each keypoint, (K): those given, the category record's, COCO's for 17 keypoints, or 0.05.

    Args:
        categories: of the data set, where one has `keypoints` and perhaps `sigmas`.
        targets: annotations, asked for K where no category says it.
        given: override the others.

    Raises:
        DatasetError: if the data set has no keypoints, or another number of them.
    """
    named = [category for category in categories if category.get("keypoints")]
    counts = [len(category["keypoints"]) for category in named]
    counts += [len(target["keypoints"]) // 3 for target in targets if target.get("keypoints")]
    if not counts:
        raise DatasetError(
            "the data set has no keypoints, so they cannot be scored; ask for iou_types ('bbox',), or complete the "
            "annotations"
        )
    count = counts[0]
    sigmas = tuple(given) or tuple(next((c["sigmas"] for c in named if c.get("sigmas")), ()))
    if not sigmas and count == len(PERSON.names):
        sigmas = PERSON.sigmas
    if not sigmas:
        logger.warning(
            "Nothing says how exact each of the %d keypoints can be; all are scored with a tolerance (sigma) of %s. "
            "Add 'sigmas' to the category record, or set DATASETS.KEYPOINT_OKS_SIGMAS",
            count,
            DEFAULT_SIGMA,
        )
        sigmas = (DEFAULT_SIGMA,) * count
    if len(sigmas) != count:
        raise DatasetError(
            f"the data set has {count} keypoints, but there are {len(sigmas)} sigmas "
            "(DATASETS.KEYPOINT_OKS_SIGMAS, or 'sigmas' of its category); one is needed for each"
        )
    return sigmas


def complete_targets(targets: Sequence[Mapping[str, Any]], *, count: int) -> list[dict[str, Any]]:
    """Annotations that all have `keypoints` and `num_keypoints`: 0, which is not scored, where they had none."""
    completed = []
    for target in targets:
        keypoints = target.get("keypoints") or [0] * (3 * count)
        visible = sum(visibility > 0 for visibility in keypoints[2::3])
        completed.append({"num_keypoints": visible, **target, "keypoints": keypoints})
    return completed


def check_entries(entries: Sequence[Mapping[str, Any]], *, count: int) -> None:
    """Raise DatasetError unless every result has K keypoints."""
    for index, entry in enumerate(entries):
        found = entry.get("keypoints")
        if found is None or len(found) != 3 * count:
            raise DatasetError(
                f"result {index} (image {entry['image_id']!r}) must have {count} keypoints, {3 * count} numbers "
                f"x, y, 1; got {'none' if found is None else f'{len(found)} numbers'}"
            )


def complete_entry(entry: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A result with what COCOeval wants besides: the keypoints' extent decides what its size is."""
    x, y = entry["keypoints"][0::3], entry["keypoints"][1::3]
    left, top, width, height = min(x), min(y), max(x) - min(x), max(y) - min(y)
    return {
        **entry,
        "id": number,
        "bbox": [left, top, width, height],
        "area": width * height,
        "iscrowd": 0,
    }
