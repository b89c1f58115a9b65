"""Anchors against the old project's check values."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator as TorchvisionAnchors
from torchvision.models.detection.image_list import ImageList as TorchvisionImages

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling.rpn.anchor_generator import (
    AnchorGenerator,
    make_cell_anchors,
    octave_sizes,
)

# stride -> anchors of size 8 * stride for ratios 1/2, 1, 2.
CHECK_VALUES = {
    4: [(-22, -10, 25, 13), (-14, -14, 17, 17), (-10, -22, 13, 25)],
    8: [(-40, -20, 47, 27), (-28, -28, 35, 35), (-20, -44, 27, 51)],
    16: [(-84, -40, 99, 55), (-56, -56, 71, 71), (-36, -80, 51, 95)],
    32: [(-164, -72, 195, 103), (-112, -112, 143, 143), (-76, -168, 107, 199)],
    64: [(-332, -152, 395, 215), (-224, -224, 287, 287), (-148, -328, 211, 391)],
}


@pytest.mark.parametrize("stride", CHECK_VALUES)
def test_check_values(stride: int) -> None:
    got = make_cell_anchors(stride=stride, sizes=(8 * stride,), aspect_ratios=(0.5, 1.0, 2.0))
    assert got.dtype == torch.float32
    assert [tuple(anchor) for anchor in got.tolist()] == CHECK_VALUES[stride]


def test_ratios_are_outer_and_sizes_inner() -> None:
    sizes = (32, 64, 128, 256, 512)
    got = make_cell_anchors(stride=16, sizes=sizes, aspect_ratios=(0.5, 1.0, 2.0))
    assert got.shape == (15, 4)
    extent = got[:, 2:] - got[:, :2] + 1
    # The window 16 x 16 becomes 23 x 12, 16 x 16, 11 x 22, and then size / 16 times that.
    expected = [[w * s / 16, h * s / 16] for w, h in ((23, 12), (16, 16), (11, 22)) for s in sizes]
    torch.testing.assert_close(extent, torch.tensor(expected))
    centers = (got[:, 2:] + got[:, :2]) / 2
    torch.testing.assert_close(centers, torch.full((15, 2), 7.5))


def test_exact_anchors_have_the_area_and_the_shape() -> None:
    got = make_cell_anchors(
        stride=16, sizes=(64, 100), aspect_ratios=(0.5, 1.0, 2.0), style="exact"
    )
    width, height = (got[:, 2:] - got[:, :2]).unbind(1)
    torch.testing.assert_close(width * height, torch.tensor([64.0**2, 100.0**2] * 3))
    torch.testing.assert_close(height / width, torch.tensor([0.5, 1.0, 2.0]).repeat_interleave(2))
    assert torch.equal(got[:, :2], -got[:, 2:])


@pytest.mark.parametrize("maps", [[(100, 152), (50, 76), (25, 38), (13, 19)], [(8, 24), (4, 12)]])
def test_rounded_anchors_and_their_strides_are_torchvisions(maps: list[tuple[int, int]]) -> None:
    sizes, ratios = ((32, 40, 50), (64, 80, 101), (128, 161, 203), (256,)), (0.5, 1.0, 2.0)
    sizes = sizes[: len(maps)]
    reference = TorchvisionAnchors(sizes, (ratios,) * len(sizes))
    ours = AnchorGenerator(
        sizes=sizes, aspect_ratios=ratios, strides=(8, 16, 32, 64)[: len(maps)], style="rounded"
    )
    features = [torch.zeros(1, 1, height, width) for height, width in maps]
    height, width = maps[0][0] * 8, maps[0][1] * 8
    images = TorchvisionImages(torch.zeros(1, 3, height, width), [(height, width)])
    (expected,) = reference(images, features)
    assert torch.equal(torch.cat(ours(features)), expected)


def test_sizes_within_an_octave() -> None:
    sizes = octave_sizes((32, 64), octave=2.0, scales=3)
    assert sizes[0] == pytest.approx((32, 40.3175, 50.7968), rel=1e-5)
    assert sizes[1] == pytest.approx([2 * s for s in sizes[0]])
    # torchvision's, as it writes them.
    cut = octave_sizes((32, 64, 128, 256, 512), truncate=True)
    assert cut == tuple((x, int(x * 2 ** (1 / 3)), int(x * 2 ** (2 / 3))) for x in (32, 64, 128, 256, 512))  # fmt: skip
    anchors = make_cell_anchors(stride=8, sizes=sizes[0], aspect_ratios=(0.5, 1.0, 2.0))
    expected = torch.tensor(
        [
            (-18.0, -8.0, 25.0, 15.0),
            (-23.7183, -11.1191, 30.7183, 18.1191),
            (-30.9228, -15.0488, 37.9228, 22.0488),
            (-12.0, -12.0, 19.0, 19.0),
        ]
    )
    torch.testing.assert_close(anchors[:4], expected, rtol=0, atol=1e-4)


def test_an_unknown_style_is_named() -> None:
    with pytest.raises(ConfigError, match="exact or rounded, got 'round'"):
        AnchorGenerator(style="round")  # type: ignore[arg-type]


def test_the_grid_runs_over_rows_columns_anchors() -> None:
    generator = AnchorGenerator(sizes=(16, 32), strides=(8, 16), aspect_ratios=(0.5, 1.0))
    assert generator.num_anchors_per_cell == [2, 2]
    features = [torch.zeros(2, 3, 5, 7), torch.zeros(2, 3, 3, 4)]
    anchors = generator(features)
    assert [tuple(a.shape) for a in anchors] == [(70, 4), (24, 4)]
    for level, (stride, width) in enumerate(((8, 7), (16, 4))):
        cell = generator.cell_anchors[level]
        for y, x, number in ((0, 0, 0), (2, 3, 1), (1, 0, 0)):
            shift = torch.tensor([x, y, x, y]) * stride
            got = anchors[level][(y * width + x) * 2 + number]
            assert torch.equal(got, cell[number] + shift)


def test_cell_anchors_travel_in_checkpoints() -> None:
    generator = AnchorGenerator()
    state = generator.state_dict()
    assert list(state) == [f"cell_anchors.{level}" for level in range(5)]
    assert not list(generator.parameters())
    # A checkpoint decides on the anchors.
    state["cell_anchors.0"] = state["cell_anchors.0"] + 1
    generator.load_state_dict(state)
    assert generator([torch.zeros(1, 1, 1, 1)])[0][0].tolist() == [-21.0, -9.0, 26.0, 14.0]


def test_sizes_of_one_level_and_of_several() -> None:
    one = AnchorGenerator(sizes=(32, 64, 128, 256, 512), strides=(16,))
    assert one.num_anchors_per_cell == [15]
    several = AnchorGenerator(sizes=((32, 40), (64, 80)), strides=(8, 16))
    assert several.num_anchors_per_cell == [6, 6]
    with pytest.raises(ConfigError, match=r"2 strides \(8, 16\), got 3.*ANCHOR_SIZES"):
        AnchorGenerator(sizes=(32, 64, 128), strides=(8, 16))


def test_anchors_that_leave_the_image_are_invisible() -> None:
    anchors = torch.tensor(
        [
            [0.0, 0.0, 19.0, 9.0],  # fills the first image
            [-1.0, 0.0, 5.0, 5.0],
            [0.0, 0.0, 20.0, 9.0],
            [0.0, 0.0, 19.0, 10.0],
        ]
    )
    sizes = torch.tensor([[10.0, 20.0], [30.0, 40.0]])
    strict = AnchorGenerator().is_visible(anchors, sizes)
    assert strict.tolist() == [[True, False, False, False], [True, False, True, True]]
    lenient = AnchorGenerator(straddle_threshold=1).is_visible(anchors, sizes)
    assert lenient.all()
    none = AnchorGenerator(straddle_threshold=-1).is_visible(anchors * 100, sizes)
    assert none.shape == (2, 4)
    assert none.all()


def test_an_anchor_keeps_its_number_when_the_batch_is_padded() -> None:
    generator = AnchorGenerator(sizes=(16, 32), strides=(8, 16))
    small = [torch.zeros(1, 1, 6, 9), torch.zeros(1, 1, 3, 5)]
    large = [torch.zeros(1, 1, 11, 10), torch.zeros(1, 1, 6, 5)]
    boxes = {}
    for features in (small, large):
        numbers = generator.numbers(features).tolist()
        anchors = torch.cat(generator(features)).tolist()
        assert len(set(numbers)) == len(numbers) == len(anchors)
        assert max(numbers) < 2**32
        found = dict(zip(numbers, anchors, strict=True))
        assert all(found[number] == box for number, box in boxes.items())
        boxes = found


def test_anchors_are_kept_in_evaluation_mode_only() -> None:
    generator = AnchorGenerator(sizes=(32,), strides=(16,)).eval()
    maps = [torch.zeros(1, 4, 3, 5)]
    with torch.inference_mode():
        first = generator(maps)
    assert generator(maps)[0] is first[0]
    assert not first[0].is_inference()
    assert generator([torch.zeros(1, 4, 4, 5)])[0].shape[0] > first[0].shape[0]
    assert torch.equal(generator.train()(maps)[0], first[0])
    assert generator(maps)[0] is not first[0]
    state = {name: value + 1 for name, value in generator.state_dict().items()}
    generator.eval().load_state_dict(state)
    assert torch.equal(generator(maps)[0], first[0] + 1)
    for rows in range(1, 40):
        generator([torch.zeros(1, 4, rows, 5)])
    assert len(generator._kept) < 10
