"""From logits and deltas to detections, by hand, one rule at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.modeling.rpn.retinanet import RetinaNetPostProcessor
from maskrcnn_benchmark.structures.padded import PaddedDetections

# Anchors of two levels, three and one; classes 1 and 2.
ANCHORS = [
    torch.tensor([[0.0, 0.0, 9.0, 9.0], [1.0, 0.0, 10.0, 9.0], [30.0, 30.0, 49.0, 39.0]]),
    torch.tensor([[0.0, 0.0, 39.0, 39.0]]),
]
SIZE = torch.tensor([[40.0, 60.0]])
LOW = 0.01


def process(
    scores: list[list[float]],
    deltas: list[list[float]] | None = None,
    sizes: Tensor = SIZE,
    **arguments: Any,
) -> PaddedDetections:
    logits = torch.tensor(scores)[None].logit()
    moves = torch.zeros(1, 4, 4) if deltas is None else torch.tensor(deltas)[None]
    return RetinaNetPostProcessor(**arguments)(
        ANCHORS, logits.split([3, 1], dim=1), moves.split([3, 1], dim=1), sizes
    )


def listed(found: PaddedDetections) -> list[tuple[float, int, list[float]]]:
    rows = found.valid[0]
    return [
        (round(score, 4), label, box)
        for score, label, box in zip(
            found.scores[0][rows].tolist(),
            found.labels[0][rows].tolist(),
            found.boxes[0][rows].tolist(),
            strict=True,
        )
    ]


def test_scores_above_the_threshold_best_first_over_all_levels() -> None:
    found = process([[0.3, LOW], [LOW, LOW], [LOW, 0.6], [LOW, 0.5]], max_detections=5)
    assert found.boxes.shape == (1, 5, 4)
    assert listed(found) == [
        (0.6, 2, [30.0, 30.0, 49.0, 39.0]),
        (0.5, 2, [0.0, 0.0, 39.0, 39.0]),
        (0.3, 1, [0.0, 0.0, 9.0, 9.0]),
    ]
    assert not found.scores[0, 3:].any()
    assert not found.labels[0, 3:].any()
    # Strictly above.
    half = process([[0.5, LOW], [LOW, LOW], [LOW, LOW], [LOW, LOW]], score_threshold=0.5)
    assert not half.valid.any()


def test_only_the_same_class_is_suppressed() -> None:
    # The first two anchors overlap by 90 / 110.
    scores = [[0.5, 0.3], [0.4, 0.6], [LOW, LOW], [LOW, LOW]]
    assert [row[:2] for row in listed(process(scores))] == [(0.6, 2), (0.5, 1)]
    every = process(scores, nms_threshold=0.82)
    assert [row[:2] for row in listed(every)] == [(0.6, 2), (0.5, 1), (0.4, 1), (0.3, 2)]


@pytest.mark.parametrize(("inclusive", "left"), [(True, 1), (False, 2)])
def test_an_overlap_of_the_threshold(inclusive: bool, left: int) -> None:
    scores = [[0.5, LOW], [0.4, LOW], [LOW, LOW], [LOW, LOW]]
    overlap = float(torch.tensor(90.0) / torch.tensor(110.0))
    found = process(scores, nms_threshold=overlap, nms_inclusive=inclusive)
    assert found.valid.sum() == left


def test_limits_per_level_and_per_image() -> None:
    scores = [[0.5, 0.3], [LOW, LOW], [0.2, 0.4], [LOW, 0.1]]
    assert [row[0] for row in listed(process(scores))] == [0.5, 0.4, 0.3, 0.2, 0.1]
    # Two of the first level, and all there is of the second.
    assert [row[0] for row in listed(process(scores, pre_nms=2))] == [0.5, 0.4, 0.1]
    assert [row[0] for row in listed(process(scores, max_detections=2))] == [0.5, 0.4]
    everything = process(scores, max_detections=0)
    assert everything.valid.shape == (1, 8)
    assert everything.valid.sum() == 5


def test_deltas_are_divided_by_their_weights() -> None:
    move = [[0.0] * 4, [0.0] * 4, [5.0, 10.0, 0.0, 0.0], [0.0] * 4]
    scores = [[LOW, LOW], [LOW, LOW], [0.5, LOW], [LOW, LOW]]
    sizes = torch.tensor([[100.0, 100.0]])
    # Half a width of 20 to the right, a height of 10 down.
    assert listed(process(scores, move, sizes))[0][2] == [40.0, 40.0, 59.0, 49.0]
    unit = process(scores, [[m / 10 for m in row] for row in move], sizes, delta_weights=(1.0,) * 4)
    assert listed(unit)[0][2] == pytest.approx([40.0, 40.0, 59.0, 49.0])


def test_when_boxes_are_cut_to_the_image_decides_on_suppression() -> None:
    # Cut to 40 x 35 the anchors 2 and 3 are [30, 30, 34, 39] and [0, 0, 34, 39].
    sizes = torch.tensor([[40.0, 35.0]])
    scores = [[LOW, LOW], [LOW, LOW], [0.5, LOW], [0.4, LOW]]
    # Whole, they overlap by 100 / 1700; cut, by 50 / 1400.
    for clip, threshold, left in (
        ("before_nms", 0.05, 2),
        ("after_nms", 0.05, 1),
        ("before_nms", 0.03, 1),
    ):
        found = process(scores, sizes=sizes, clip=clip, nms_threshold=threshold)
        assert found.valid.sum() == left
        assert listed(found)[0][2] == [30.0, 30.0, 34.0, 39.0]


@pytest.mark.parametrize("clip", ["before_nms", "after_nms"])
def test_boxes_without_area_inside_the_image(clip: Any) -> None:
    # The third anchor begins right of an image of 20 pixels.
    sizes = torch.tensor([[40.0, 20.0]])
    scores = [[LOW, LOW], [LOW, LOW], [0.5, LOW], [LOW, 0.4]]
    kept = process(scores, sizes=sizes, clip=clip, box_offset=0.0)
    assert listed(kept)[0][2] == [20.0, 30.0, 20.0, 39.0]
    dropped = process(scores, sizes=sizes, clip=clip, box_offset=0.0, drop_empty=True)
    assert [row[:2] for row in listed(dropped)] == [(0.4, 2)]
    # After suppression it has taken its place among the best.
    one = process(scores, sizes=sizes, clip=clip, box_offset=0.0, drop_empty=True, max_detections=1)
    assert int(one.valid.sum()) == (1 if clip == "before_nms" else 0)


def test_images_of_a_batch_are_separate() -> None:
    logits = torch.tensor([[[0.9], [0.1]], [[0.2], [0.8]]]).logit()
    anchors = [torch.tensor([[0.0, 0.0, 9.0, 9.0], [20.0, 0.0, 29.0, 9.0]])]
    found = RetinaNetPostProcessor(max_detections=2)(
        anchors, [logits], [torch.zeros(2, 2, 4)], torch.tensor([[10.0, 30.0], [10.0, 25.0]])
    )
    assert found.valid.all()
    torch.testing.assert_close(found.scores, torch.tensor([[0.9, 0.1], [0.8, 0.2]]))
    assert found.boxes[:, :, 2].tolist() == [[9.0, 29.0], [24.0, 9.0]]
