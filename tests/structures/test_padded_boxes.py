"""Lists of BoxLists as padded tensors."""

from __future__ import annotations

import torch

from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.padded import proposals_to_boxlists
from maskrcnn_benchmark.structures.padded_boxes import (
    image_sizes_of,
    pad_boxes,
    pad_field,
    proposals_from_boxlists,
)
from maskrcnn_benchmark.structures.sizes import HeightWidth


def lists() -> list[BoxList]:
    first = BoxList([[0, 0, 10, 10], [5, 5, 4, 6]], (64, 48), mode="xywh")
    first.add_field("objectness", torch.tensor([0.9, 0.4]))
    return [first, BoxList(torch.zeros(0, 4), (32, 40)), BoxList([[1, 1, 3, 3]], (32, 40))]


def test_boxes_and_what_is_real() -> None:
    boxes, valid = pad_boxes(lists())
    assert valid.tolist() == [[True, True], [False, False], [True, False]]
    assert boxes[0].tolist() == [[0, 0, 9, 9], [5, 5, 8, 10]]
    assert boxes[~valid].eq(0).all()


def test_there_is_room_for_one_box_at_least() -> None:
    boxes, valid = pad_boxes(lists()[1:2])
    assert (boxes.shape, valid.tolist()) == ((1, 1, 4), [[False]])


def test_fields_and_sizes() -> None:
    given = lists()
    _, valid = pad_boxes(given)
    values = pad_field(given, "objectness", valid)
    torch.testing.assert_close(values, torch.tensor([[0.9, 0.4], [0, 0], [0, 0]]))
    assert image_sizes_of(given).tolist() == [[48, 64], [40, 32], [40, 32]]


def test_proposals_there_and_back() -> None:
    given = lists()
    sizes = [HeightWidth(each.size.height, each.size.width) for each in given]
    back = proposals_to_boxlists(proposals_from_boxlists(given), sizes)
    for before, after in zip(given, back, strict=True):
        assert torch.equal(after.bbox, before.convert("xyxy").bbox)
        assert after.size == before.size
    torch.testing.assert_close(back[0].get_field("objectness"), torch.tensor([0.9, 0.4]))
