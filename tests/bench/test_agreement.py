from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from maskrcnn_benchmark.bench.agreement import Agreement, match
from maskrcnn_benchmark.results.detections import Detections

SIZE = (20, 30)


def detections(*rows: tuple[float, float, float, float, int, float]) -> Detections:
    """Rows of x1, y1, x2, y2, label, score; masks are the boxes."""
    masks = []
    for x1, y1, x2, y2, _, _ in rows:
        canvas = np.zeros(SIZE, dtype=np.uint8, order="F")
        canvas[int(y1) : int(y2), int(x1) : int(x2)] = 1
        masks.append(mask_utils.encode(canvas))
    return Detections(
        image_size=SIZE,
        boxes=np.array([row[:4] for row in rows], dtype=np.float32).reshape(-1, 4),
        labels=np.array([row[4] for row in rows], dtype=np.int64),
        scores=np.array([row[5] for row in rows], dtype=np.float32),
        class_names=("background", "cat", "dog"),
        masks=masks,
    )


FIRST = detections((0, 0, 10, 10, 1, 0.9), (12, 0, 20, 8, 2, 0.8), (0, 0, 10, 10, 2, 0.7))


def test_pairs_are_of_one_class_and_the_nearest() -> None:
    second = detections((0, 0, 10, 8, 2, 0.7), (12, 0, 20, 8, 2, 0.8), (0, 0, 10, 9, 1, 0.9))
    assert sorted(match(FIRST, second)) == [(0, 2), (1, 1), (2, 0)]


def test_what_only_one_found_is_counted() -> None:
    agreement = Agreement()
    agreement.add(FIRST, detections((0, 0, 10, 8, 1, 0.6), (20, 10, 30, 20, 1, 0.9)))
    agreement.add(detections(), FIRST)
    assert (agreement.images, agreement.detections) == (2, 3)
    assert (agreement.only_first, agreement.only_second) == (2, 4)
    assert agreement.boxes == [2.0]
    assert agreement.scores == pytest.approx([0.3])
    assert agreement.mask_ious == pytest.approx([0.8])


def test_boxes_without_an_area_do_not_hide_others() -> None:
    continuous = replace(FIRST, box_offset=0.0)
    boxes = continuous.boxes.copy()
    boxes[1] = 5.0
    continuous = replace(continuous, boxes=boxes)
    assert sorted(match(continuous, continuous)) == [(0, 0), (2, 2)]
