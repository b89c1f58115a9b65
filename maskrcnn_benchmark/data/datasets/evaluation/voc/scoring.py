"""Average precision as in Pascal VOC 2007, with the old project's arithmetic.

N: detections, G: objects of one image.    C: classes, background included (label 0).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from maskrcnn_benchmark.layers.boxes import LEGACY_OFFSET, box_iou
from maskrcnn_benchmark.results.detections import Detections

Floats = NDArray[np.float64]

# 0, .1, ... 1, as floating-point sums give them: .3 is a bit more than 3 / 10, so that a recall of exactly 3 / 10 does
# not reach it. Part of the published numbers.
RECALL_STEPS: Floats = np.arange(0.0, 1.1, 0.1)

HIT, MISS, IGNORED = 1, 0, -1


class VOCTargets(NamedTuple):
    """Objects of one image.

    Attributes:
        boxes: (G, 4) float32 xyxy, inclusive corners.
        labels: (G,) int64.
        difficult: (G,) bool.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    difficult: NDArray[np.bool_]


def score_voc(
    pairs: Iterable[tuple[Detections, VOCTargets]],
    *,
    num_classes: int,
    iou_threshold: float = 0.5,
    eleven_points: bool = True,
) -> Floats:
    """Average precision of each class.

    Args:
        pairs: for each image what was found and what is there.
        num_classes: C.
        iou_threshold: a detection that overlaps an object so much is a hit.
        eleven_points: mean of the best precision at eleven recalls (VOC 2007); otherwise the area under the curve
            (VOC 2010 and later).

    Returns:
        (C,) nan for a class without objects, as the background.
    """
    outcomes: list[list[tuple[float, int]]] = [[] for _ in range(num_classes)]
    objects = np.zeros(num_classes, dtype=np.int64)
    for found, targets in pairs:
        np.add.at(objects, targets.labels[~targets.difficult], 1)
        for label, outcome in _match_image(found, targets, iou_threshold):
            outcomes[label].extend(outcome)
    return np.array(
        [
            _class_precision(of_class, int(number), eleven_points)
            for of_class, number in zip(outcomes, objects, strict=True)
        ]
    )


def average_precision(precision: Floats, recall: Floats, *, eleven_points: bool = True) -> float:
    """One number for a curve.

    Args:
        precision: after each detection, best first.
        recall: likewise, ascending.
        eleven_points: see `score_voc`.
    """
    if eleven_points:
        reached = [precision[recall >= step] for step in RECALL_STEPS]
        return float(sum(values.max() if values.size else 0.0 for values in reached) / 11)
    # The best precision at this recall or beyond, times the steps of recall.
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * best).sum())


def _match_image(
    found: Detections, targets: VOCTargets, iou_threshold: float
) -> Iterator[tuple[int, list[tuple[float, int]]]]:
    """For each class found in an image (label, [(score, HIT, MISS or IGNORED)])."""
    for label in np.unique(found.labels).tolist():
        rows = np.flatnonzero(found.labels == label)
        rows = rows[np.argsort(-found.scores[rows], kind="stable")]
        columns = np.flatnonzero(targets.labels == label)
        outcome = _match_class(
            _overlaps(found.boxes[rows], targets.boxes[columns]),
            targets.difficult[columns],
            iou_threshold,
        )
        yield label, list(zip(found.scores[rows].tolist(), outcome, strict=True))


def _match_class(
    overlaps: NDArray[np.float32], difficult: NDArray[np.bool_], iou_threshold: float
) -> list[int]:
    """Outcome of each detection (rows, best first) with the objects (columns) of its class.

    Each detection looks at its best object only: a second one on the same object is a miss even if another object
    overlaps it enough.
    """
    if not overlaps.shape[1]:
        return [MISS] * len(overlaps)
    outcome = []
    is_taken = np.zeros(len(difficult), dtype=np.bool_)
    for best, overlap in zip(overlaps.argmax(axis=1), overlaps.max(axis=1), strict=True):
        if overlap < iou_threshold:
            outcome.append(MISS)
        elif difficult[best]:
            outcome.append(IGNORED)
        else:
            outcome.append(MISS if is_taken[best] else HIT)
            is_taken[best] = True
    return outcome


def _overlaps(boxes: NDArray[np.float32], targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU (N, G). The corners x2, y2 get +1, and the areas another one: the old numbers have it twice."""
    first, second = (torch.from_numpy(np.array(each)).reshape(-1, 4) for each in (boxes, targets))
    first[:, 2:] += LEGACY_OFFSET
    second[:, 2:] += LEGACY_OFFSET
    overlaps: NDArray[np.float32] = box_iou(first, second, offset=LEGACY_OFFSET).numpy()
    return overlaps


def _class_precision(outcomes: list[tuple[float, int]], objects: int, eleven_points: bool) -> float:
    if objects == 0:
        return float("nan")
    scores = np.array([score for score, _ in outcomes])
    # Of equal scores over several images, the earlier image comes first.
    match = np.array([outcome for _, outcome in outcomes], dtype=np.int64)
    match = match[np.argsort(-scores, kind="stable")]
    match = match[match != IGNORED]
    if not match.size:
        return 0.0
    hits = np.cumsum(match == HIT)
    precision = hits / np.arange(1, len(match) + 1)
    return average_precision(precision, hits / objects, eleven_points=eleven_points)
