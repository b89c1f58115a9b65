"""Heat maps: targets by hand, decoding against plain interpolation."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from maskrcnn_benchmark.layers import keypoints as module
from maskrcnn_benchmark.layers.keypoints import (
    best_probability,
    cubic_weights,
    decode_heat_maps,
    heat_map_targets,
    keypoints_inside,
)


def test_targets_of_a_batch_by_hand() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 20], [5, 5, 5, 5]]])
    points = torch.tensor([[4.9, 19.9, 2], [5.0, 10.0, 1], [10, 20, 2], [-0.1, 3, 2], [5, 5, 0]])
    cells, valid = heat_map_targets(points.expand(1, 2, 5, 3), boxes, size=2)
    assert valid[0, 0].tolist() == [True, True, True, False, False]
    assert cells[0, 0].tolist() == [2, 3, 3, 0, 0]
    # A box without extent holds nothing but a point exactly on it.
    assert not valid[0, 1].any()


def test_a_keypoint_beyond_the_box_has_no_cell() -> None:
    box = torch.tensor([[10.0, 10, 20, 20]])
    for x, is_inside in ((10.0, True), (20.0, True), (20.01, False), (9.99, False)):
        _, valid = heat_map_targets(torch.tensor([[[x, 15, 2]]]), box, size=56)
        assert bool(valid) is is_inside
        assert bool(keypoints_inside(torch.tensor([[[x, 15, 2.0]]]), box)) is is_inside


def test_cell_and_decoding_are_inverse() -> None:
    box = torch.tensor([[3.0, 5, 59, 61]])
    points = torch.stack((torch.rand(1, 9) * 55 + 3.5, torch.rand(1, 9) * 55 + 5.5), dim=2)
    points = torch.cat((points, torch.full((1, 9, 1), 2.0)), dim=2)
    cells, valid = heat_map_targets(points, box, size=56)
    assert valid.all()
    maps = F.one_hot(cells, 56 * 56).view(1, 9, 56, 56).float()
    found = decode_heat_maps(maps, box, torch.tensor([True]))
    assert (found[..., :2] - points[..., :2]).abs().max() <= 0.5 + 1e-4
    torch.testing.assert_close(found[..., 2], torch.ones(1, 9))


@pytest.mark.parametrize(("old", "new"), [(56, 200), (56, 56), (56, 7), (28, 1), (4, 33)])
def test_cubic_weights_are_those_of_interpolate(old: int, new: int) -> None:
    maps = torch.randn(3, old, old)
    got = cubic_weights(old, new) @ maps @ cubic_weights(old, new + 3).T
    expected = F.interpolate(maps[None], size=(new, new + 3), mode="bicubic", align_corners=False)[
        0
    ]
    # torch works out the weights in float32.
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(cubic_weights(old, new).sum(dim=1), torch.ones(new))


def make_regions() -> tuple[torch.Tensor, torch.Tensor]:
    """Heat maps (4, 5, 14, 14) and boxes: fractions of a pixel, tall, and without extent."""
    boxes = torch.tensor(
        [[3.2, 4.7, 90.1, 55.0], [0, 0, 10, 130.5], [7.5, 7.5, 7.5, 7.5], [1, 2, 30, 40]]
    )
    return torch.randn(4, 5, 14, 14) * 3, boxes


def test_decoding_against_interpolation_of_each_region() -> None:
    maps, boxes = make_regions()
    found = decode_heat_maps(maps, boxes, torch.tensor([True, True, True, False]))
    assert found.shape == (4, 5, 3)
    assert not found[3].any()
    for row in range(3):
        x1, y1, x2, y2 = boxes[row].tolist()
        width, height = max(x2 - x1, 1.0), max(y2 - y1, 1.0)
        size = (math.ceil(height), math.ceil(width))
        enlarged = F.interpolate(maps[None, row], size=size, mode="bicubic", align_corners=False)[0]
        value, index = enlarged.flatten(1).max(dim=1)
        x = (index % size[1] + 0.5) * width / size[1] + x1
        y = (index // size[1] + 0.5) * height / size[0] + y1
        torch.testing.assert_close(found[row], torch.stack((x, y, value), 1), rtol=1e-4, atol=1e-4)


def test_pieces_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, boxes = make_regions()
    maps[1] = 0.0  # All pixels are equal: the first one counts.
    valid = torch.ones(4, dtype=torch.bool)
    expected = decode_heat_maps(maps, boxes, valid)
    monkeypatch.setattr(module, "MAX_PIXELS", 5 * 40)
    got = decode_heat_maps(maps, boxes, valid)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(got[1, :, :2], torch.tensor([[0.5, 0.5 * 130.5 / 131]] * 5))


def test_nothing_to_decode() -> None:
    assert decode_heat_maps(torch.rand(0, 5, 8, 8), torch.rand(0, 4), torch.ones(0) > 0).shape == (
        *(0, 5, 3),
    )
    assert decode_heat_maps(torch.rand(2, 0, 8, 8), torch.rand(2, 4), torch.ones(2) > 0).shape == (
        *(2, 0, 3),
    )


def test_the_operator_keeps_what_torch_asks_of_operators() -> None:
    maps, boxes = make_regions()
    torch.library.opcheck(
        torch.ops.maskrcnn.decode_heat_maps.default, (maps, boxes, torch.ones(4) > 0)
    )


def test_reduced_precision_does_not_reach_the_decoding() -> None:
    maps, boxes = make_regions()
    valid = torch.ones(4, dtype=torch.bool)
    expected = decode_heat_maps(maps, boxes, valid)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(decode_heat_maps(maps, boxes, valid), expected)


def test_probability_of_a_keypoint() -> None:
    maps = torch.zeros(1, 2, 4, 4)
    maps[0, 1, 2, 2] = 20.0
    got = best_probability(maps, maps.flatten(2).amax(dim=2))
    torch.testing.assert_close(got, torch.tensor([[1 / 16, 1.0]]), rtol=1e-5, atol=1e-5)


@pytest.mark.gpu
def test_decoding_on_a_gpu() -> None:
    maps, boxes = make_regions()
    valid = torch.tensor([True, True, False, True])
    expected = decode_heat_maps(maps, boxes, valid)
    with torch.autocast("cuda", dtype=torch.float16):
        got = decode_heat_maps(maps.cuda(), boxes.cuda(), valid.cuda())
    torch.testing.assert_close(got.cpu(), expected, rtol=1e-5, atol=1e-4)
