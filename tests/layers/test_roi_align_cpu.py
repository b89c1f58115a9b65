"""Bags of cells against torchvision's operator, where they could part: borders, tiny maps, odd boxes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.ops import roi_align

from maskrcnn_benchmark.layers.roi_align_cpu import roi_align_backward, roi_align_forward


def compare(
    feature: Tensor, rois: Tensor, scale: float, size: int, samples: int, aligned: bool
) -> None:
    feature = feature.requires_grad_()
    expected = roi_align(feature, rois, size, scale, samples, aligned)
    got = roi_align_forward(feature.detach(), rois, scale, size, samples, aligned)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    direction = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad((expected * direction).sum(), feature)
    gradient = roi_align_backward(direction, feature.shape, rois, scale, size, samples, aligned)
    torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 1), (13, 17)])
def test_small_maps_and_boxes_across_their_borders(
    size: tuple[int, int], samples: int, aligned: bool
) -> None:
    feature = torch.randn(3, 4, *size)
    corner = torch.rand(60, 2) * 100 - 30
    boxes = torch.cat((corner, corner + torch.rand(60, 2) * 70 - 5), dim=1)
    image = torch.randint(0, 3, (60, 1)).float()
    compare(feature, torch.cat((image, boxes), dim=1), 0.25, 3, samples, aligned)


def test_boxes_on_and_beyond_the_border() -> None:
    edges = torch.tensor([-8.0, -4.0, -3.999, 0.0, 31.999, 32.0, 36.0, 36.001, 40.0])
    first, second = torch.cartesian_prod(edges, edges).unbind(1)
    boxes = torch.stack((first, second, first + 4, second + 9), dim=1)
    rois = torch.cat((torch.zeros(len(boxes), 1), boxes), dim=1)
    compare(torch.randn(1, 2, 8, 9), rois, 0.25, 2, 2, False)


def test_positions_on_a_large_map_do_not_drift() -> None:
    corner = torch.rand(200, 2) * torch.tensor([1100.0, 700.0])
    boxes = torch.cat((corner, corner + torch.rand(200, 2) * 150), dim=1)
    rois = torch.cat((torch.zeros(200, 1), boxes), dim=1)
    compare(torch.randn(1, 2, 200, 304), rois, 0.25, 7, 2, False)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30])
def test_boxes_that_are_no_numbers_do_not_fail(bad: float) -> None:
    feature = torch.randn(1, 3, 6, 6)
    rois = torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0], [0.0, 1.0, bad, 3.0, bad]])
    got = roi_align_forward(feature, rois, 1.0, 2, 2, False)
    torch.testing.assert_close(got[:1], roi_align(feature, rois[:1], 2, 1.0, 2))
    grad = torch.ones(2, 3, 2, 2)
    assert roi_align_backward(grad, feature.shape, rois, 1.0, 2, 2, False).isfinite().all()


def test_the_channels_are_innermost() -> None:
    rois = torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]])
    out = roi_align_forward(torch.randn(1, 8, 6, 6), rois, 1.0, 2, 2, False)
    assert out.is_contiguous(memory_format=torch.channels_last)
