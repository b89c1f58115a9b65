"""RoIPool over a pyramid and from one map, against a loop over the cells of each bin."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.layers.roi_pool import ROIPool, pyramid_roi_pool, roi_pool

SCALES = [1 / 4, 1 / 8, 1 / 16]


def round_half_away(value: float) -> int:
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def naive(feature: Tensor, rois: Tensor, scale: float, rows: int, columns: int) -> Tensor:
    height, width = feature.shape[2:]
    out = []
    for image, *box in rois.tolist():
        x1, y1, x2, y2 = (round_half_away(value * scale) for value in box)
        bin_h, bin_w = max(y2 - y1 + 1, 1) / rows, max(x2 - x1 + 1, 1) / columns
        for row in range(rows):
            for column in range(columns):
                top = min(max(math.floor(row * bin_h) + y1, 0), height)
                low = min(max(math.ceil((row + 1) * bin_h) + y1, 0), height)
                left = min(max(math.floor(column * bin_w) + x1, 0), width)
                right = min(max(math.ceil((column + 1) * bin_w) + x1, 0), width)
                cells = feature[int(image), :, top:low, left:right].flatten(1)
                out.append(cells.amax(1) if cells.numel() else feature[0, :, 0, 0] * 0)
    return torch.stack(out).view(len(rois), rows, columns, -1).permute(0, 3, 1, 2)


def regions(count: int = 30) -> Tensor:
    # Halves of cells, which are rounded away from zero, and beyond the map.
    corner = torch.randint(-10, 90, (count, 2)) * 1.0
    boxes = torch.cat((corner, corner + torch.randint(0, 50, (count, 2))), dim=1)
    return torch.cat((torch.randint(0, 2, (count, 1)).float(), boxes), dim=1)


@pytest.mark.parametrize("size", [3, (2, 5)])
def test_one_map(size: int | tuple[int, int]) -> None:
    feature, rois = torch.randn(2, 3, 16, 24), regions()
    rows, columns = (size, size) if isinstance(size, int) else size
    expected = naive(feature, rois, 0.25, rows, columns)
    assert torch.equal(roi_pool(feature, rois, size, 0.25), expected)
    assert torch.equal(ROIPool(size, 0.25)(feature, rois), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert roi_pool(feature.bfloat16(), rois, size, 0.25).dtype == torch.float32
    assert roi_pool(feature, rois[:0], size, 0.25).shape == (0, 3, rows, columns)


def test_a_pyramid_and_its_gradient() -> None:
    features = [torch.randn(2, 3, 64 // s, 96 // s, requires_grad=True) for s in (4, 8, 16)]
    features[1] = features[1].detach().contiguous(memory_format=torch.channels_last)
    features[1].requires_grad_()
    rois = regions(40)
    levels = torch.randint(-1, 3, (40,))
    got = pyramid_roi_pool(features, rois, levels, scales=SCALES, output_size=3)
    expected = torch.stack(
        [
            torch.zeros(3, 3, 3)
            if level < 0
            else naive(features[level], roi[None], SCALES[level], 3, 3)[0]
            for roi, level in zip(rois, levels.tolist(), strict=True)
        ]
    )
    assert torch.equal(got, expected)
    direction = torch.randn_like(got)
    torch.testing.assert_close(
        torch.autograd.grad((got * direction).sum(), features),
        torch.autograd.grad((expected * direction).sum(), features),
    )


def test_no_regions() -> None:
    features = [torch.randn(1, 3, 8, 8, requires_grad=True)]
    empty = torch.zeros(0, dtype=torch.int64)
    got = pyramid_roi_pool(features, torch.zeros(0, 5), empty, scales=[0.25], output_size=7)
    assert got.shape == (0, 3, 7, 7)
    assert not torch.autograd.grad(got.sum(), features)[0].any()


# torch's own check looks at the gradient of copies it made.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_the_operators_are_well_defined_for_the_compiler() -> None:
    features = [torch.randn(2, 3, 64 // s, 96 // s, requires_grad=True) for s in (4, 8, 16)]
    rois, levels = regions(11), torch.randint(-1, 3, (11,))
    arguments = (rois, levels, SCALES, 3)
    torch.library.opcheck(torch.ops.maskrcnn.pyramid_roi_pool.default, (features, *arguments))
    plain = [feature.detach() for feature in features]
    _, cells = torch.ops.maskrcnn.pyramid_roi_pool(plain, *arguments)
    torch.library.opcheck(
        torch.ops.maskrcnn.pyramid_roi_pool_backward.default,
        (torch.randn(11, 3, 3, 3), cells, plain, *arguments),
    )
