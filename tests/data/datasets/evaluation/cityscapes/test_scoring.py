"""Cityscapes' average precision: by hand, and against a second implementation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from maskrcnn_benchmark.data.datasets.evaluation.cityscapes import ImageMatches, score_cityscapes

AT_50 = np.array([0.5])


def make(
    targets: list[tuple[int, int]],
    predictions: list[tuple[int, float, int]],
    intersections: dict[tuple[int, int], int] | None = None,
) -> ImageMatches:
    """(label, area), (label, score, area), and common pixels of pairs."""
    common = np.zeros((len(targets), len(predictions)), dtype=np.int64)
    for pair, pixels in (intersections or {}).items():
        common[pair] = pixels
    return ImageMatches(
        target_labels=np.array([label for label, _ in targets], dtype=np.int64),
        target_areas=np.array([area for _, area in targets], dtype=np.int64),
        labels=np.array([label for label, *_ in predictions], dtype=np.int64),
        scores=np.array([score for _, score, _ in predictions], dtype=np.float64),
        areas=np.array([area for *_, area in predictions], dtype=np.int64),
        intersections=common,
    )


def score(*images: ImageMatches, **settings: Any) -> list[float]:
    return score_cityscapes(images, num_classes=3, thresholds=AT_50, **settings)[:, 0].tolist()


def test_a_hit_and_what_cannot_be_measured() -> None:
    ap = score(make([(1, 200)], [(1, 0.9, 200)], {(0, 0): 200}))
    assert ap[1] == 1
    assert math.isnan(ap[0])
    assert math.isnan(ap[2])
    assert score(make([(1, 200)], []))[1] == 0


def test_the_threshold_itself_is_no_match() -> None:
    # 100 common of 200: IoU .5 exactly.
    assert score(make([(1, 150)], [(1, 0.9, 150)], {(0, 0): 100}))[1] == 0
    assert score(make([(1, 150)], [(1, 0.9, 150)], {(0, 0): 101}))[1] == 1


def test_the_best_of_several_is_the_hit() -> None:
    image = make([(1, 200)], [(1, 0.3, 200), (1, 0.9, 200)], {(0, 0): 190, (0, 1): 150})
    # Points: (recall 1, precision 1/2) at .3, (1, 1) at .9, (0, 1). Widths 0, 1/2, 1/2.
    assert score(image)[1] == pytest.approx(1.0)


def test_a_false_positive_before_the_hit() -> None:
    image = make([(1, 200)], [(1, 0.9, 200), (1, 0.3, 200)], {(0, 1): 190})
    # Points: (1, 1/2), (0, 0), (0, 1). Widths 1/2, 1/2, 0.
    assert score(image)[1] == pytest.approx(0.25)


def test_small_objects_need_not_be_found_and_what_is_on_them_is_ignored() -> None:
    targets = [(1, 99), (1, 200)]
    hit = (1, 0.5, 200)
    # A prediction mostly on the small object, but too large to match it.
    image = make(targets, [(1, 0.9, 150), hit], {(0, 0): 80, (1, 1): 200})
    assert score(image)[1] == 1
    # Half of it there is not enough.
    image = make(targets, [(1, 0.9, 160), hit], {(0, 0): 80, (1, 1): 200})
    assert score(image)[1] < 1
    assert math.isnan(score(make([(1, 99)], [(1, 0.9, 150)]))[1])


def test_labels_are_not_looked_at_unless_asked() -> None:
    image = make([(1, 200)], [(2, 0.9, 200), (1, 0.5, 200)], {(0, 0): 200})
    # The prediction of class 2 is the hit of class 1; the one of class 1 is false.
    assert score(image)[1] == pytest.approx(1.0)
    assert math.isnan(score(image)[2])
    assert score(image, match_labels=True)[1] == 0
    # Without any prediction of its own the class gets 0, whoever covers it.
    assert score(make([(1, 200)], [(2, 0.9, 200)], {(0, 0): 200}))[1] == 0


def test_a_prediction_without_pixels() -> None:
    image = make([(1, 200)], [(1, 0.9, 0), (1, 0.5, 200)], {(0, 1): 200})
    assert score(image)[1] == pytest.approx(0.25), "it counts as false"


def second_opinion(images: list[ImageMatches], label: int, threshold: float) -> float:
    """Prediction by prediction, and the area as a sum over pairs of neighbouring points."""
    hits: list[float] = []
    false: list[float] = []
    missed, has_object, has_prediction = 0, False, False
    for image in images:
        iou: dict[tuple[int, int], float] = {}
        for t, area in enumerate(image.target_areas):
            for p, own in enumerate(image.areas):
                common = image.intersections[t, p]
                iou[t, p] = common / (area + own - common)
        for t, (of, area) in enumerate(zip(image.target_labels, image.target_areas, strict=True)):
            if of != label or area < 100:
                continue
            has_object = True
            fitting = [image.scores[p] for p in range(len(image.areas)) if iou[t, p] > threshold]
            if fitting:
                fitting.remove(best := max(fitting))
                hits.append(best)
                false += fitting
            else:
                missed += 1
        for p, of in enumerate(image.labels):
            if of != label:
                continue
            has_prediction = True
            rows = range(len(image.target_areas))
            if any(iou[t, p] > threshold for t in rows):
                continue
            ignored = sum(image.intersections[t, p] for t in rows if image.target_areas[t] < 100)
            if ignored / image.areas[p] <= threshold:
                false.append(image.scores[p])
    if not has_object:
        return math.nan
    if not has_prediction or not hits + false:
        return 0.0
    points = []
    for cut in sorted({*hits, *false}):
        good, bad = (sum(value >= cut for value in values) for values in (hits, false))
        points.append((good / (len(hits) + missed), good / (good + bad)))
    points.append((0.0, 1.0))
    area, last = 0.0, len(points) - 1
    for index, (_, precision) in enumerate(points):
        before = points[max(index - 1, 0)][0]
        after = points[index + 1][0] if index < last else 0.0
        area += precision * (before - after) / 2
    return area


@pytest.mark.parametrize("seed", range(5))
def test_against_a_second_implementation(seed: int) -> None:
    random = np.random.RandomState(seed)
    images = []
    for _ in range(8):
        targets = [(int(random.randint(1, 3)), int(random.randint(60, 300))) for _ in range(4)]
        predictions, common = [], {}
        for p in range(7):
            t = random.randint(0, 6)
            area = int(random.randint(60, 300))
            if t < 4:
                area = max(int(targets[t][1] * random.uniform(0.7, 1.4)), 1)
                common[t, p] = int(min(area, targets[t][1]) * random.uniform(0.6, 1))
            predictions.append((int(random.randint(1, 3)), round(random.rand(), 1), area))
        images.append(make(targets, predictions, common))
    thresholds = np.array([0.5, 0.65, 0.8])
    ours = score_cityscapes(images, num_classes=3, thresholds=thresholds)
    expected = [[second_opinion(images, label, t) for t in thresholds] for label in range(3)]
    assert np.nanmax(expected) > 0.1
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)
