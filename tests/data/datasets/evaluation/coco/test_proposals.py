import itertools
from typing import Any

import numpy as np
import pytest

from maskrcnn_benchmark.data.datasets.evaluation.coco.proposals import (
    match_greedily,
    proposal_recall,
)
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.structures.sizes import HeightWidth


def make_proposals(boxes: list[list[float]], scores: list[float]) -> Detections:
    return Detections(
        image_size=HeightWidth(500, 500),
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        scores=np.array(scores, dtype=np.float32),
        labels=np.ones(len(boxes), dtype=np.int64),
        class_names=("__background__", "object"),
    )


def target(x: float, y: float, w: float, h: float, **more: Any) -> dict[str, Any]:
    return {"bbox": [x, y, w, h], "area": w * h, "iscrowd": 0, **more}


def test_the_best_pair_is_taken_first() -> None:
    overlaps = np.array([[0.9, 0.8], [0.7, 0.1]], dtype=np.float32)
    # 0.9 takes the first proposal and the first object away; 0.8 and 0.7 cannot be had any more.
    assert match_greedily(overlaps).tolist() == pytest.approx([0.9, 0.1])


def test_objects_beyond_the_proposals_are_uncovered() -> None:
    assert match_greedily(np.array([[0.6, 0.7, 0.2]], dtype=np.float32)).tolist() == pytest.approx(
        [0.7, 0, 0]
    )
    assert match_greedily(np.zeros((0, 2), dtype=np.float32)).tolist() == [0, 0]
    assert match_greedily(np.zeros((3, 0), dtype=np.float32)).tolist() == []


def test_greedy_agrees_with_a_plain_loop() -> None:
    overlaps = np.random.default_rng(0).random((9, 6)).astype(np.float32)
    pairs = sorted(itertools.product(range(9), range(6)), key=lambda pair: -overlaps[pair])
    rows: set[int] = set()
    columns: set[int] = set()
    taken = []
    for row, column in pairs:
        if row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            taken.append(overlaps[row, column])
    assert match_greedily(overlaps).tolist() == taken


def test_recall_by_hand() -> None:
    """One object covered exactly (all 10 thresholds), one with IoU .72 (5 of 10), a crowd that does not count."""
    proposals = make_proposals([[0, 0, 19, 19], [100, 100, 199, 171]], [0.2, 0.9])
    objects = [
        target(0, 0, 20, 20),
        target(100, 100, 100, 100),
        target(300, 300, 50, 50, iscrowd=1),
    ]
    recall = proposal_recall([(proposals, objects)])
    assert recall["AR@100"] == pytest.approx((1 + 0.5) / 2)
    assert recall["ARs@100"] == pytest.approx(1)
    assert recall["ARm@100"] == -1
    assert recall["ARl@100"] == pytest.approx(0.5)
    assert recall["AR@1000"] == recall["AR@100"]


def test_only_the_best_proposals_count() -> None:
    elsewhere = [[400.0, 400, 410, 410]] * 100
    proposals = make_proposals([[0, 0, 19, 19], *elsewhere], [0.1, *np.linspace(0.5, 0.9, 100)])
    recall = proposal_recall([(proposals, [target(0, 0, 20, 20)])])
    assert recall["AR@100"] == 0
    assert recall["AR@1000"] == 1


def test_areas_on_the_border_belong_to_both_sizes() -> None:
    proposals = make_proposals([[0, 0, 31, 31]], [0.5])
    recall = proposal_recall([(proposals, [target(0, 0, 32, 32)])])
    assert recall["ARs@100"] == 1
    assert recall["ARm@100"] == 1


def test_images_without_objects_or_proposals() -> None:
    nothing = make_proposals([], [])
    assert set(proposal_recall([(nothing, [])]).values()) == {-1}
    recall = proposal_recall([(nothing, [target(0, 0, 20, 20)]), (nothing, [])])
    assert recall["AR@100"] == 0
    assert recall["ARl@100"] == -1
