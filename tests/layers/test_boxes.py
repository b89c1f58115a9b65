"""Box arithmetic against hand-computed numbers and plain float64 arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.layers.boxes import (
    MAX_LOG_SCALE,
    box_area,
    box_iou,
    clip_boxes,
    decode_boxes,
    encode_boxes,
    is_at_least,
)

WEIGHTS = (10.0, 10.0, 5.0, 5.0)
UNIT = (1.0, 1.0, 1.0, 1.0)


def random_boxes(*shape: int, size: float = 200.0) -> torch.Tensor:
    corner = torch.rand(*shape, 2) * size
    return torch.cat((corner, corner + torch.rand(*shape, 2) * size / 2), dim=-1)


def naive_iou(first: np.ndarray, second: np.ndarray, offset: float) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0]) + offset
    height = min(first[3], second[3]) - max(first[1], second[1]) + offset
    inter = max(width, 0.0) * max(height, 0.0)
    areas = [(b[2] - b[0] + offset) * (b[3] - b[1] + offset) for b in (first, second)]
    return float(inter / (sum(areas) - inter))


def test_area_counts_both_corners_only_with_the_offset() -> None:
    boxes = torch.tensor([[0.0, 0.0, 9.0, 4.0], [3.0, 3.0, 3.0, 3.0]])
    assert box_area(boxes).tolist() == [50.0, 1.0]
    assert box_area(boxes, offset=0.0).tolist() == [36.0, 0.0]


def test_iou_by_hand() -> None:
    box = torch.tensor([[0.0, 0.0, 9.0, 9.0]])
    others = torch.tensor(
        [
            [0.0, 0.0, 9.0, 9.0],  # itself
            [5.0, 0.0, 14.0, 9.0],  # half of it: 50 of 150
            [9.0, 0.0, 18.0, 9.0],  # one column: 10 of 190
            [10.0, 0.0, 19.0, 9.0],  # the next column
            [0.0, 0.0, 4.0, 4.0],  # inside: 25 of 100
        ]
    )
    expected = torch.tensor([[1.0, 1 / 3, 10 / 190, 0.0, 0.25]])
    torch.testing.assert_close(box_iou(box, others), expected)
    # Without the offset the third only touches, and the fifth covers 16 of 81.
    expected = torch.tensor([[1.0, 36 / 126, 0.0, 0.0, 16 / 81]])
    torch.testing.assert_close(box_iou(box, others, offset=0.0), expected)


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_iou_equals_plain_arithmetic(offset: float) -> None:
    first, second = random_boxes(12), random_boxes(9)
    expected = [[naive_iou(a, b, offset) for b in second.double().numpy()] for a in first.numpy()]
    got = box_iou(first, second, offset=offset)
    np.testing.assert_allclose(got.numpy(), np.array(expected), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(box_iou(second, first, offset=offset), got.T)


def test_iou_broadcasts_over_the_batch() -> None:
    targets, anchors = random_boxes(3, 4), random_boxes(7)
    got = box_iou(targets, anchors)
    assert got.shape == (3, 4, 7)
    for image in range(3):
        torch.testing.assert_close(got[image], box_iou(targets[image], anchors))


@pytest.mark.parametrize(("offset", "right", "bottom"), [(1.0, 19.0, 9.0), (0.0, 20.0, 10.0)])
def test_clip_ends_at_the_last_pixel(offset: float, right: float, bottom: float) -> None:
    boxes = torch.tensor([[[-5.0, -6.0, 100.0, 100.0], [2.0, 3.0, 4.0, 5.0]]])
    got = clip_boxes(boxes, torch.tensor([[10.0, 20.0]]), offset=offset)
    assert got.tolist() == [[[0.0, 0.0, right, bottom], [2.0, 3.0, 4.0, 5.0]]]


def test_clip_uses_the_size_of_each_image() -> None:
    boxes = torch.full((2, 1, 4), 1000.0)
    got = clip_boxes(boxes, torch.tensor([[10.0, 20.0], [30.0, 40.0]]))
    assert got.tolist() == [[[19.0, 9.0, 19.0, 9.0]], [[39.0, 29.0, 39.0, 29.0]]]


def test_small_boxes_are_measured_with_the_offset() -> None:
    boxes = torch.tensor([[0.0, 0.0, 3.0, 3.0], [0.0, 0.0, 2.0, 9.0], [0.0, 0.0, 9.0, 2.0]])
    assert is_at_least(boxes, 4).tolist() == [True, False, False]
    assert is_at_least(boxes, 3, offset=0.0).tolist() == [True, False, False]
    # A box turned inside out has no size.
    assert is_at_least(torch.tensor([[5.0, 5.0, 3.0, 9.0]]), 0).tolist() == [False]


def test_encode_by_hand() -> None:
    proposal = torch.tensor([[0.0, 0.0, 9.0, 19.0]])  # 10 x 20 about (5, 10)
    target = torch.tensor([[5.0, 10.0, 24.0, 19.0]])  # 20 x 10 about (15, 15)
    expected = torch.tensor([[1.0, 0.25, math.log(2), math.log(0.5)]])
    torch.testing.assert_close(encode_boxes(target, proposal, weights=UNIT), expected)
    torch.testing.assert_close(
        encode_boxes(target, proposal, weights=WEIGHTS), expected * torch.tensor(WEIGHTS)
    )


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_decoding_undoes_encoding(offset: float) -> None:
    proposals, targets = random_boxes(2, 50).double() + 1, random_boxes(2, 50).double()
    targets[..., 2:] += 2
    proposals[..., 2:] += 2
    deltas = encode_boxes(targets, proposals, weights=WEIGHTS, offset=offset)
    # Growth by more than 62.5 would be clamped.
    got = decode_boxes(deltas, proposals, weights=WEIGHTS, offset=offset)
    keep = (deltas[..., 2:] < 5 * MAX_LOG_SCALE).all(dim=-1)
    torch.testing.assert_close(got[keep], targets[keep])
    assert keep.sum() > 90


def test_zero_deltas_keep_the_box_in_every_class() -> None:
    proposals = random_boxes(5).double()
    got = decode_boxes(torch.zeros(5, 12, dtype=torch.float64), proposals, weights=WEIGHTS)
    torch.testing.assert_close(got, proposals.repeat(1, 3))


def test_each_class_has_its_own_columns() -> None:
    proposals = random_boxes(4, 6)
    deltas = torch.randn(4, 6, 3 * 4)
    got = decode_boxes(deltas, proposals, weights=WEIGHTS)
    for label in range(3):
        columns = slice(4 * label, 4 * label + 4)
        alone = decode_boxes(deltas[..., columns], proposals, weights=WEIGHTS)
        torch.testing.assert_close(got[..., columns], alone)


def test_growth_is_clamped_shrinking_is_not() -> None:
    assert math.isclose(MAX_LOG_SCALE, 4.135166556742356)
    proposal = torch.tensor([[0.0, 0.0, 15.0, 15.0]], dtype=torch.float64)
    huge = torch.tensor([[0.0, 0.0, 9.0, 50.0]], dtype=torch.float64)
    got = decode_boxes(huge, proposal, weights=UNIT)
    # 16 pixels become 1000, about the centre (8, 8).
    expected = torch.tensor([[-492.0, -492.0, 507.0, 507.0]], dtype=torch.float64)
    torch.testing.assert_close(got, expected)
    tiny = torch.tensor([[0.0, 0.0, -20.0, -20.0]], dtype=torch.float64)
    got = decode_boxes(tiny, proposal, weights=UNIT)
    side = 16 * math.exp(-20)
    torch.testing.assert_close(got[0, 2] - got[0, 0] + 1, torch.tensor(side, dtype=torch.float64))


def test_infinite_deltas_stay_out_of_the_way() -> None:
    deltas = torch.tensor([[0.0, 0.0, math.inf, math.inf]])
    assert decode_boxes(deltas, torch.tensor([[0.0, 0.0, 9.0, 9.0]]), weights=UNIT).isfinite().all()


def test_boxes_take_the_type_of_the_deltas() -> None:
    got = decode_boxes(torch.zeros(1, 4, dtype=torch.float64), torch.zeros(1, 4), weights=UNIT)
    assert got.dtype == torch.float64


@pytest.mark.parametrize("deltas", [torch.zeros(3, 4), torch.zeros(2, 6)])
def test_decode_names_both_shapes(deltas: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match=rf"{deltas.shape[0]}, {deltas.shape[1]}.*\(2, 4\)"):
        decode_boxes(deltas, torch.zeros(2, 4), weights=UNIT)
