import pytest
import torch

from maskrcnn_benchmark.layers.pairing import pair_by_overlap

# Of the same place, from 10 to 6 pixels wide.
BOXES = torch.tensor([[0.0, 0.0, width, 10.0] for width in (10, 9, 8, 7, 6)])
ONE = torch.ones(5, dtype=torch.int64)


def pairs(rows1, rows2, labels1=ONE, labels2=ONE, *, boxes=BOXES, min_iou=0.5, offset=0.0):
    return pair_by_overlap(
        boxes[rows1],
        labels1[: len(rows1)],
        boxes[rows2],
        labels2[: len(rows2)],
        min_iou=min_iou,
        offset=offset,
    )


def test_the_greatest_overlap_comes_first_and_every_row_once():
    # 9 and 8 are nearer to each other than to 10 and to 6.
    assert pairs([0, 1], [4, 2]) == [(1, 1), (0, 0)]
    assert pairs([0, 1, 2], [1]) == [(1, 0)]
    assert pairs([1], [0, 1, 2]) == [(0, 1)]


def test_labels_and_the_least_overlap():
    assert pairs([0], [1], ONE, 2 * ONE) == []
    assert pairs([0, 0], [0, 0], torch.tensor([1, 2]), torch.tensor([2, 1])) == [(0, 1), (1, 0)]
    assert pairs([0], [3], min_iou=0.69) == [(0, 0)]
    assert pairs([0], [3], min_iou=0.71) == []


def test_inclusive_corners():
    # 8 of 11 columns, 7 of 10.
    assert pairs([0], [3], min_iou=0.71, offset=1.0) == [(0, 0)]


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_no_boxes_and_no_area(offset):
    none = torch.zeros(0, dtype=torch.int64)
    assert pairs(none, [0], offset=offset) == pairs([0], none, offset=offset) == []
    points = torch.full((2, 4), 3.0)
    found = pairs([0], [1], boxes=points, offset=offset)
    assert found == ([(0, 0)] if offset else [])
