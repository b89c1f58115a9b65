"""Average precision from overlaps, as in Cityscapes' evaluation of instances.

C: classes, background included (label 0).    T: IoU thresholds (10).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from maskrcnn_benchmark.data.datasets.evaluation.cityscapes.matching import ImageMatches

Floats = NDArray[np.float64]

IOU_THRESHOLDS: Floats = np.arange(0.5, 1.0, 0.05)
# Objects with fewer pixels need not be found, and what is found on them does not harm.
MIN_REGION_SIZE = 100


def score_cityscapes(
    images: Sequence[ImageMatches],
    *,
    num_classes: int,
    thresholds: Floats = IOU_THRESHOLDS,
    min_region_size: int = MIN_REGION_SIZE,
    match_labels: bool = False,
) -> Floats:
    """Average precision of each class at each threshold.

    The old project matched boxes without looking at their labels: a prediction of any class that covers an object well
    is a hit of the object's class, and no false positive of its own. Its published numbers contain this, so it is the
    default here.

    Args:
        images: overlaps of each image.
        num_classes: C.
        thresholds: (T,) a prediction must overlap an object more than so much (strictly).
        min_region_size: see MIN_REGION_SIZE.
        match_labels: let predictions match objects of their own class only.

    Returns:
        (C, T) nan for a class without objects, as the background.
    """
    if match_labels:
        images = [_same_labels_only(image) for image in images]
    overlaps = [image.overlaps for image in images]
    precisions = np.full((num_classes, len(thresholds)), np.nan)
    for label in range(num_classes):
        objects = sum(int(_is_target(image, label, min_region_size).any()) for image in images)
        predictions = sum(int((image.labels == label).any()) for image in images)
        if not objects:
            continue
        for column, threshold in enumerate(thresholds):
            curve = _Curve()
            for image, overlap in zip(images, overlaps, strict=True):
                curve.add(image, overlap > threshold, label, float(threshold), min_region_size)
            precisions[label, column] = curve.average_precision() if predictions else 0.0
    return precisions


class _Curve:
    """Scores of hits and of false positives of one class, and how many objects were missed."""

    def __init__(self) -> None:
        self.hits: list[float] = []
        self.false: list[float] = []
        self.missed = 0

    def add(
        self,
        image: ImageMatches,
        is_match: NDArray[np.bool_],
        label: int,
        threshold: float,
        min_region_size: int,
    ) -> None:
        for row in np.flatnonzero(_is_target(image, label, min_region_size)):
            scores = np.sort(image.scores[is_match[row]])
            if not scores.size:
                self.missed += 1
                continue
            self.hits.append(float(scores[-1]))
            self.false.extend(scores[:-1].tolist())
        is_small = image.target_areas < min_region_size
        on_small = image.intersections[is_small].sum(axis=0) / np.maximum(image.areas, 1)
        is_false = (image.labels == label) & ~is_match.any(axis=0) & (on_small <= threshold)
        self.false.extend(image.scores[is_false].tolist())

    def average_precision(self) -> float:
        """Area under precision over recall, each score being a point of the curve."""
        scores = np.array([*self.hits, *self.false])
        if not scores.size:
            return 0.0
        is_hit = np.arange(len(scores)) < len(self.hits)
        cuts = np.unique(scores)  # ascending
        hits = np.array([(is_hit & (scores >= cut)).sum() for cut in cuts])
        found = np.array([(scores >= cut).sum() for cut in cuts])
        objects = len(self.hits) + self.missed
        precision = np.append(hits / found, 1.0)
        recall = np.append(hits / max(objects, 1), 0.0)
        # Each point counts for half the way to both of its neighbours.
        padded = np.concatenate((recall[:1], recall, [0.0]))
        widths = np.convolve(padded, [-0.5, 0.0, 0.5], mode="valid")
        return float(precision @ widths)


def _is_target(image: ImageMatches, label: int, min_region_size: int) -> NDArray[np.bool_]:
    is_target: NDArray[np.bool_] = (image.target_labels == label) & (
        image.target_areas >= min_region_size
    )
    return is_target


def _same_labels_only(image: ImageMatches) -> ImageMatches:
    is_same = image.target_labels[:, None] == image.labels[None]
    return ImageMatches(
        target_labels=image.target_labels,
        target_areas=image.target_areas,
        labels=image.labels,
        scores=image.scores,
        areas=image.areas,
        intersections=np.where(is_same, image.intersections, 0),
    )
