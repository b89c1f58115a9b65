"""VOC's average precision: by hand, against a second implementation, and against published numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskrcnn_benchmark.data.datasets.evaluation.voc import (
    VOCTargets,
    average_precision,
    score_voc,
)
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.structures.sizes import HeightWidth

NAMES = ("__background__", "cat", "dog", "pig")

Pair = tuple[Detections, VOCTargets]


def make_pair(
    found: list[tuple[int, float, list[float]]], there: list[tuple[int, bool, list[float]]]
) -> Pair:
    """(label, score, box) and (label, difficult, box)."""
    detections = Detections(
        image_size=HeightWidth(200, 200),
        boxes=np.array([box for *_, box in found], dtype=np.float32).reshape(-1, 4),
        scores=np.array([score for _, score, _ in found], dtype=np.float32),
        labels=np.array([label for label, *_ in found], dtype=np.int64),
        class_names=NAMES,
    )
    targets = VOCTargets(
        boxes=np.array([box for *_, box in there], dtype=np.float32).reshape(-1, 4),
        labels=np.array([label for label, *_ in there], dtype=np.int64),
        difficult=np.array([difficult for _, difficult, _ in there], dtype=np.bool_),
    )
    return detections, targets


def score(*pairs: Pair, **settings: Any) -> list[float]:
    return score_voc(pairs, num_classes=len(NAMES), **settings).tolist()


BOX = [10.0, 10.0, 49.0, 49.0]
FAR = [100.0, 100.0, 139.0, 139.0]


def test_hits_and_a_class_without_objects() -> None:
    ap = score(make_pair([(1, 0.9, BOX), (2, 0.8, BOX)], [(1, False, BOX), (3, False, FAR)]))
    assert math.isnan(ap[0])
    assert ap[1] == pytest.approx(1)
    assert math.isnan(ap[2]), "what is found of a class that is nowhere harms nobody"
    assert ap[3] == 0


def test_a_second_detection_is_false_even_if_another_object_is_near() -> None:
    shifted = [10.0, 14.0, 49.0, 53.0]
    there = [(1, False, BOX), (1, False, shifted)]
    # Both detections fit the first object best, both overlap the second enough.
    ap = score(make_pair([(1, 0.9, BOX), (1, 0.8, BOX)], there))
    assert ap[1] == pytest.approx(6 / 11), "recall .5 at precision 1: the steps 0 to .5"


def test_difficult_objects_neither_count_nor_harm() -> None:
    there = [(1, False, BOX), (1, True, FAR)]
    found = [(1, 0.9, FAR), (1, 0.8, FAR), (1, 0.7, BOX)]
    assert score(make_pair(found, there))[1] == pytest.approx(1)
    assert math.isnan(score(make_pair(found, [(1, True, FAR)]))[1])


def test_the_plus_one_counts_twice() -> None:
    # 10 pixels high (y2 - y1 + 1), 20 and 10 wide: IoU .5 without the second +1, 11 * 11 / (21 * 11) with it.
    there, found = [0.0, 0.0, 19.0, 9.0], [0.0, 0.0, 9.0, 9.0]
    pair = make_pair([(1, 0.9, found)], [(1, False, there)])
    assert score(pair, iou_threshold=11 / 21 - 1e-6)[1] == pytest.approx(1)
    assert score(pair, iou_threshold=11 / 21 + 1e-6)[1] == 0
    assert score(make_pair([(1, 0.9, found)], [(1, False, [0, 0, 21, 9])]))[1] == 0


def test_recall_steps_are_sums() -> None:
    precision, recall = np.array([1.0]), np.array([3 / 10])
    assert average_precision(precision, recall) == pytest.approx(3 / 11), ".3 is not reached"
    assert average_precision(precision, recall, eleven_points=False) == pytest.approx(0.3)


def second_opinion(
    pairs: list[Pair], *, num_classes: int, iou_threshold: float, eleven_points: bool
) -> list[float]:
    """The same in plain Python and float64, detection by detection."""
    result = []
    for label in range(num_classes):
        events, objects = [], 0
        for found, there in pairs:
            rows = [i for i in range(len(there.labels)) if there.labels[i] == label]
            objects += sum(not there.difficult[i] for i in rows)
            taken = set()
            order = [i for i in range(len(found)) if found.labels[i] == label]
            for index in sorted(order, key=lambda i: -float(found.scores[i])):
                best, best_iou = None, -1.0
                for row in rows:
                    if (overlap := iou(found.boxes[index], there.boxes[row])) > best_iou:
                        best, best_iou = row, overlap
                if best is None or best_iou < iou_threshold:
                    events.append((float(found.scores[index]), False))
                elif not there.difficult[best]:
                    events.append((float(found.scores[index]), best not in taken))
                    taken.add(best)
        if not objects:
            result.append(math.nan)
            continue
        events.sort(key=lambda event: -event[0])
        points, hits = [], 0
        for position, (_, hit) in enumerate(events, start=1):
            hits += hit
            points.append((hits / objects, hits / position))
        if eleven_points:
            steps = np.arange(0.0, 1.1, 0.1).tolist()
            best_at = [max((p for r, p in points if r >= step), default=0.0) for step in steps]
            result.append(sum(best_at) / 11)
        else:
            area, before = 0.0, 0.0
            for recall, _ in points:
                area += (recall - before) * max(p for r, p in points if r >= recall)
                before = recall
            result.append(area)
    return result


def iou(first: Any, second: Any) -> float:
    (ax, ay, bx, by), (cx, cy, dx, dy) = map(float, first), map(float, second)
    width = max(min(bx + 1, dx + 1) - max(ax, cx) + 1, 0)
    height = max(min(by + 1, dy + 1) - max(ay, cy) + 1, 0)
    areas = (bx - ax + 2) * (by - ay + 2) + (dx - cx + 2) * (dy - cy + 2)
    return width * height / (areas - width * height)


@pytest.mark.parametrize("eleven_points", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_against_a_second_implementation(seed: int, eleven_points: bool) -> None:
    random = np.random.RandomState(seed)

    def box() -> list[float]:
        x, y = random.uniform(0, 60, 2)
        return [x, y, x + random.uniform(15, 60), y + random.uniform(15, 60)]

    pairs = []
    for _ in range(12):
        there = [
            (int(random.randint(1, 4)), bool(random.rand() < 0.2), box())
            for _ in range(random.randint(0, 6))
        ]
        found = [(int(random.randint(1, 4)), random.rand(), box()) for _ in range(6)]
        found += [
            (label, random.rand(), [value + random.normal(0, 4) for value in corners])
            for label, _, corners in there
        ]
        pairs.append(make_pair(found, there))
    settings: dict[str, Any] = {"iou_threshold": 0.5, "eleven_points": eleven_points}
    expected = second_opinion(pairs, num_classes=4, **settings)
    assert 0.05 < np.nanmean(expected) < 0.95
    np.testing.assert_allclose(score(*pairs, **settings), expected, rtol=0, atol=1e-12)


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("eleven_points", "published"), [(True, (0.2684, 0.2684)), (False, (0.2456, 0.2457))]
)
def test_published_numbers(
    shared: Path, eleven_points: bool, published: tuple[float, float]
) -> None:
    """Seven images of github.com/rafaelpadilla/Object-Detection-Metrics, at IoU .3."""
    root = shared / "data" / "eval_ref" / "voc_map_padilla"

    def lines(path: Path) -> list[list[float]]:
        return [
            [float(word) for word in line.split()[1:]] for line in path.read_text().splitlines()
        ]

    def corners(x: float, y: float, width: float, height: float) -> list[float]:
        return [x, y, x + width - 1, y + height - 1]

    pairs = [
        make_pair(
            [(1, first, corners(*box)) for first, *box in lines(root / "detections" / path.name)],
            [(1, False, corners(*box)) for box in lines(path)],
        )
        for path in sorted((root / "groundtruths").glob("*.txt"))
    ]
    assert len(pairs) == 7
    ap = score(*pairs, iou_threshold=0.3, eleven_points=eleven_points)[1]
    assert published[0] - 5e-5 <= ap <= published[1] + 5e-5
