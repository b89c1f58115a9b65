"""Deformable position-sensitive pooling against a loop over every sample."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.layers.deform_roi_pooling import (
    DeformRoIPooling,
    DeformRoIPoolingPack,
    ModulatedDeformRoIPoolingPack,
    deform_roi_pooling,
)

ROIS = torch.tensor(
    [
        [0.0, 3.4, 2.6, 30.2, 25.5],
        [1.0, -6.5, 4.0, 12.0, 40.0],  # beyond the map on two sides
        [1.0, 9.0, 9.0, 9.0, 9.0],  # one pixel
        [0.0, 60.0, 60.0, 80.0, 80.0],  # outside
    ]
)


def bilinear(plane: Tensor, y: float, x: float) -> Tensor:
    height, width = plane.shape
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = int(y), int(x)
    low, right = min(top + 1, height - 1), min(left + 1, width - 1)
    fy, fx = y - top, x - left
    upper = plane[top, left] * (1 - fx) + plane[top, right] * fx
    lower = plane[low, left] * (1 - fx) + plane[low, right] * fx
    return upper * (1 - fy) + lower * fy


def round_half_away(value: float) -> float:
    return math.copysign(math.floor(abs(value) + 0.5), value)


def naive(
    data: Tensor,
    rois: Tensor,
    offset: Tensor | None,
    *,
    scale: float,
    size: int,
    channels: int,
    groups: int,
    parts: int,
    samples: int,
    trans_std: float,
) -> Tensor:
    height, width = data.shape[2:]
    classes = 1 if offset is None else offset.shape[1] // 2
    rows = []
    for number, (image, *box) in enumerate(rois.tolist()):
        x1, y1 = (round_half_away(v) * scale - 0.5 for v in box[:2])
        x2, y2 = ((round_half_away(v) + 1) * scale - 0.5 for v in box[2:])
        roi_w, roi_h = max(x2 - x1, 0.1), max(y2 - y1, 0.1)
        for channel in range(channels):
            for ph in range(size):
                for pw in range(size):
                    dx = dy = 0.0
                    if offset is not None:
                        kind = channel // (channels // classes)
                        part = (ph * parts // size, pw * parts // size)
                        dx = float(offset[number, 2 * kind][part]) * trans_std
                        dy = float(offset[number, 2 * kind + 1][part]) * trans_std
                    gy, gx = ph * groups // size, pw * groups // size
                    plane = data[int(image), (channel * groups + gy) * groups + gx]
                    total, count = plane.sum() * 0, 0
                    for ih in range(samples):
                        for iw in range(samples):
                            x = x1 + (pw + iw / samples) * roi_w / size + dx * roi_w
                            y = y1 + (ph + ih / samples) * roi_h / size + dy * roi_h
                            if -0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5:
                                total = total + bilinear(plane, y, x)
                                count += 1
                    rows.append(total / max(count, 1))
    return torch.stack(rows).view(len(rois), channels, size, size)


@pytest.mark.parametrize(
    ("groups", "parts", "classes"), [(1, 3, 1), (3, 3, 1), (2, 3, 2), (1, 2, 1)]
)
def test_values_and_gradient_of_the_map_are_those_of_the_loop(
    groups: int, parts: int, classes: int
) -> None:
    data = torch.randn(2, 2 * groups**2, 9, 11, requires_grad=True)
    offset = torch.randn(len(ROIS), 2 * classes, parts, parts)
    got = deform_roi_pooling(data, ROIS, offset, 0.25, 3, 2, False, groups, parts, 2, 0.1)
    expected = naive(
        data,
        ROIS,
        offset,
        scale=0.25,
        size=3,
        channels=2,
        groups=groups,
        parts=parts,
        samples=2,
        trans_std=0.1,
    )
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    assert not got[3].any()
    direction = torch.randn_like(got)
    torch.testing.assert_close(
        torch.autograd.grad((got * direction).sum(), data),
        torch.autograd.grad((expected * direction).sum(), data),
        rtol=1e-4,
        atol=1e-5,
    )


def test_without_offsets() -> None:
    data = torch.randn(2, 4, 9, 11)
    got = deform_roi_pooling(data, ROIS, torch.empty(0), 0.25, 2, 1, True, 2)
    expected = naive(
        data,
        ROIS,
        None,
        scale=0.25,
        size=2,
        channels=1,
        groups=2,
        parts=2,
        samples=4,
        trans_std=0.0,
    )
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_gradient_of_the_offsets_is_that_of_small_steps() -> None:
    data = torch.randn(1, 1, 12, 12)
    rois = torch.tensor([[0.0, 8.0, 8.0, 31.0, 27.0]])
    offset = (torch.rand(1, 2, 2, 2) * 0.4 - 0.2).requires_grad_()

    def pool(moved: Tensor) -> Tensor:
        return deform_roi_pooling(data, rois, moved, 0.25, 2, 1, False, 1, 2, 2, 0.3).sum()

    (gradient,) = torch.autograd.grad(pool(offset), offset)
    for index in range(offset.numel()):
        step = torch.zeros(offset.numel())
        step[index] = 1e-3
        step = step.view_as(offset)
        slope = (pool(offset + step) - pool(offset - step)) / 2e-3
        torch.testing.assert_close(gradient.flatten()[index], slope, rtol=0.02, atol=2e-3)


def test_no_regions_and_half_precision() -> None:
    data = torch.randn(1, 4, 6, 6)
    layer = DeformRoIPooling(0.5, 3, 4, no_trans=True)
    assert layer(data, torch.zeros(0, 5), data.new_empty(0)).shape == (0, 4, 3, 3)
    rois = torch.tensor([[0.0, 1.0, 1.0, 9.0, 9.0]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(data.bfloat16(), rois, data.new_empty(0)).dtype == torch.float32


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ShapeError, match=r"2 x 3\^2 = 18 channels in data, got 4"):
        deform_roi_pooling(torch.zeros(1, 4, 6, 6), ROIS, torch.zeros(0), 1.0, 3, 2, True, 3)
    with pytest.raises(ShapeError, match=r"\(R, 2K, 3, 3\), got \(4, 2, 2, 2\)"):
        deform_roi_pooling(torch.zeros(2, 4, 6, 6), ROIS, torch.zeros(4, 2, 2, 2), 1.0, 3, 4, False)
    with pytest.raises(ShapeError, match="4 output channels cannot be split into 3"):
        deform_roi_pooling(torch.zeros(2, 4, 6, 6), ROIS, torch.zeros(4, 6, 3, 3), 1.0, 3, 4, False)


def test_packs_start_without_moving_anything_and_learn_to() -> None:
    data = torch.randn(2, 4, 9, 11)
    plain = DeformRoIPooling(0.25, 3, 4, no_trans=True, trans_std=0.1)
    expected = plain(data, ROIS, data.new_empty(0))
    pack = DeformRoIPoolingPack(0.25, 3, 4, no_trans=False, trans_std=0.1, deform_fc_channels=8)
    torch.testing.assert_close(pack(data, ROIS), expected)
    modulated = ModulatedDeformRoIPoolingPack(
        0.25, 3, 4, no_trans=False, trans_std=0.1, deform_fc_channels=8
    )
    torch.testing.assert_close(modulated(data, ROIS), expected * 0.5)
    for layer in (pack, modulated):
        layer(data, ROIS).square().sum().backward()
        for part in [layer.offset_fc, getattr(layer, "mask_fc", None)]:
            if part is not None:
                last = [m for m in part if isinstance(m, torch.nn.Linear)][-1]
                assert last.weight.grad is not None
                assert last.weight.grad.abs().sum() > 0
    still = ModulatedDeformRoIPoolingPack(0.25, 3, 4, no_trans=True)
    assert not list(still.parameters())
    torch.testing.assert_close(still(data, ROIS), expected)
