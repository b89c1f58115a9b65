"""Pooling from a pyramid against torchvision's operator on each level, and against arithmetic."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.ops import roi_align

from maskrcnn_benchmark.layers.roi_align import assign_levels, pyramid_roi_align

SCALES = [1 / 4, 1 / 8, 1 / 16]


def pyramid(*, channels: int = 3, channels_last: bool = False) -> list[Tensor]:
    """Maps of two images of 64 x 96 pixels."""
    maps = [torch.randn(2, channels, 64 // s, 96 // s) for s in (4, 8, 16)]
    if channels_last:
        maps = [feature.contiguous(memory_format=torch.channels_last) for feature in maps]
    return [feature.requires_grad_() for feature in maps]


def regions(count: int = 40) -> tuple[Tensor, Tensor]:
    """Rows of (image, xyxy), some beyond the image, and their levels, some negative."""
    corner = torch.rand(count, 2) * torch.tensor([90.0, 60.0]) - 4
    boxes = torch.cat((corner, corner + torch.rand(count, 2) * 50), dim=1)
    image = torch.randint(0, 2, (count, 1)).float()
    return torch.cat((image, boxes), dim=1), torch.randint(-1, 3, (count,))


def pooled_level_by_level(
    features: list[Tensor], rois: Tensor, levels: Tensor, size: int, ratio: int, aligned: bool
) -> Tensor:
    rows = []
    for roi, level in zip(rois, levels.tolist(), strict=True):
        if level < 0:
            rows.append(torch.zeros(1, features[0].shape[1], size, size))
        else:
            rows.append(roi_align(features[level], roi[None], size, SCALES[level], ratio, aligned))
    return torch.cat(rows)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("size", "ratio", "aligned"), [(7, 2, False), (5, 0, False), (4, 2, True)])
def test_forward_and_backward_equal_torchvision(
    size: int, ratio: int, aligned: bool, channels_last: bool
) -> None:
    features = pyramid(channels_last=channels_last)
    rois, levels = regions()
    got = pyramid_roi_align(
        features,
        rois,
        levels,
        scales=SCALES,
        output_size=size,
        sampling_ratio=ratio,
        aligned=aligned,
    )
    expected = pooled_level_by_level(features, rois, levels, size, ratio, aligned)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    direction = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad((got * direction).sum(), features),
        torch.autograd.grad((expected * direction).sum(), features),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_single_level() -> None:
    feature = torch.randn(2, 3, 8, 8, requires_grad=True)
    rois, _ = regions(9)
    levels = torch.tensor([0, 0, -1, 0, 0, 0, 0, -1, 0])
    for some in (levels, levels.clamp(min=0)):
        got = pyramid_roi_align(
            [feature], rois, some, scales=[1 / 4], output_size=3, sampling_ratio=0
        )
        expected = pooled_level_by_level([feature], rois, some, 3, 0, False)
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(
            torch.autograd.grad(got.square().sum(), feature),
            torch.autograd.grad(expected.square().sum(), feature),
        )


def test_on_a_slope_by_hand() -> None:
    # feature = x: every bin gives the mean of its sample positions, start + (bin + 1/2) * width.
    feature = torch.arange(16.0).expand(1, 1, 8, 16)
    rois = torch.tensor([[0.0, 4.0, 4.0, 20.0, 12.0]])
    got = pyramid_roi_align(
        [feature], rois, torch.tensor([0]), scales=[0.5], output_size=4, sampling_ratio=2
    )
    torch.testing.assert_close(got[0, 0], torch.tensor([3.0, 5.0, 7.0, 9.0]).expand(4, 4))


def test_samples_beyond_the_map_count_as_zero() -> None:
    feature = torch.ones(1, 1, 4, 4)
    rois = torch.tensor([[0.0, 2.0, 0.0, 10.0, 4.0]])  # columns 2 .. 10 of a map 4 wide
    got = pyramid_roi_align(
        [feature], rois, torch.tensor([0]), scales=[1.0], output_size=4, sampling_ratio=1
    )
    # Samples at 3, 5, 7, 9: the first lies inside.
    assert got[0, 0, 1].tolist() == [1.0, 0.0, 0.0, 0.0]


def test_no_regions_and_no_valid_regions() -> None:
    features = pyramid()
    options = {"scales": SCALES, "output_size": 7, "sampling_ratio": 2}
    empty = pyramid_roi_align(
        features, torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64), **options
    )
    assert empty.shape == (0, 3, 7, 7)
    rois, _ = regions(5)
    none = pyramid_roi_align(features, rois, torch.full((5,), -1), **options)
    assert none.shape == (5, 3, 7, 7)
    assert not none.any()
    gradients = torch.autograd.grad(none.sum() + empty.sum(), features)
    assert not any(gradient.any() for gradient in gradients)


def test_under_autocast_it_stays_float32() -> None:
    features = pyramid()
    rois, levels = regions()
    options = {"scales": SCALES, "output_size": 7, "sampling_ratio": 2}
    expected = pyramid_roi_align(features, rois, levels, **options)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = pyramid_roi_align(features, rois, levels, **options)
        half = pyramid_roi_align([f.bfloat16() for f in features], rois, levels, **options)
    assert got.dtype == half.dtype == torch.float32
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(half, expected, rtol=0.02, atol=0.05)


# torch's own check looks at the gradient of copies it made.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_operators_are_well_defined_for_the_compiler(channels_last: bool) -> None:
    features = pyramid(channels_last=channels_last)
    rois, levels = regions(11)
    arguments = (rois, levels, SCALES, 3, 2, False)
    torch.library.opcheck(torch.ops.maskrcnn.pyramid_roi_align.default, (features, *arguments))
    plain = [feature.detach() for feature in features]
    torch.library.opcheck(
        torch.ops.maskrcnn.pyramid_roi_align_backward.default,
        (torch.randn(11, 3, 3, 3), plain, *arguments),
    )


@pytest.mark.parametrize(
    ("side", "level"),
    [(10, 0), (111, 0), (112, 1), (223, 1), (224, 2), (447, 2), (448, 3), (2000, 3)],
)
def test_level_of_a_square(side: int, level: int) -> None:
    box = torch.tensor([[5.0, 7.0, 4.0 + side, 6.0 + side]])
    assert assign_levels(box, min_level=2, max_level=5).item() == level
    box[:, 2:] += 1
    assert assign_levels(box, min_level=2, max_level=5, offset=0.0).item() == level


def test_level_follows_the_area_and_keeps_the_batch() -> None:
    boxes = torch.tensor([[[0.0, 0, 447, 111], [0.0, 0, 10, 10]]])
    assert assign_levels(boxes, min_level=2, max_level=5).tolist() == [[2, 0]]
    # One map: nothing to choose, whatever is in the row.
    boxes = torch.tensor([[0.0, 0, 0, 0], [9.0, 9, 3, 3], [0.0, 0, 5000, 5000]])
    assert assign_levels(boxes, min_level=4, max_level=4).tolist() == [0, 0, 0]


def test_regions_of_another_type() -> None:
    features, (rois, levels) = pyramid(), regions()
    arguments = {"scales": SCALES, "output_size": 4, "sampling_ratio": 2}
    expected = pyramid_roi_align(features, rois, levels, **arguments)
    assert torch.equal(pyramid_roi_align(features, rois.double(), levels, **arguments), expected)
