"""The bodies of the operators as on a GPU (`tests.pretended_gpu`): on one device, with the numbers of the CPU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.layers.deform_roi_pooling import deform_roi_pooling
from maskrcnn_benchmark.layers.keypoints import decode_heat_maps
from maskrcnn_benchmark.layers.masks import rasterize_in_boxes
from maskrcnn_benchmark.layers.nms import nms_padded
from maskrcnn_benchmark.layers.roi_align import _pyramid_roi_align_backward, pyramid_roi_align
from maskrcnn_benchmark.layers.roi_pool import _pyramid_roi_pool, _pyramid_roi_pool_backward
from maskrcnn_benchmark.layers.soft_nms import soft_nms_padded
from tests.pretended_gpu import pretended_gpu, read

SCALES = [1 / 4, 1 / 8]


def make_regions() -> tuple[list[Tensor], Tensor, Tensor]:
    """Two maps, seven regions of two images, and their levels: two of none."""
    maps = [torch.randn(2, 3, 24, 32), torch.randn(2, 3, 12, 16)]
    corner = torch.rand(7, 2) * 60
    boxes = torch.cat((corner, corner + 5 + torch.rand(7, 2) * 50), dim=1)
    image = torch.tensor([0.0, 1, 0, 1, 0, 1, 0])
    levels = torch.tensor([0, 1, -1, 1, 0, 2**62, 0])
    return maps, torch.cat((image[:, None], boxes), dim=1), levels


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_roi_align_and_its_gradient(sampling_ratio: int, dtype: torch.dtype) -> None:
    maps, rois, levels = make_regions()
    maps = [own.to(dtype).contiguous(memory_format=torch.channels_last) for own in maps]
    grad = torch.randn(7, 3, 4, 4)
    arguments = {"scales": SCALES, "output_size": 4, "sampling_ratio": sampling_ratio}
    backward = (SCALES, 4, sampling_ratio, False)
    floats = [own.float() for own in maps]
    expected = pyramid_roi_align(maps, rois, levels, **arguments)
    gradients = _pyramid_roi_align_backward(grad, floats, rois, levels, *backward)
    with pretended_gpu() as gpu:
        there, where = gpu.put(rois), gpu.put(levels)
        got = pyramid_roi_align(gpu.put(maps), there, where, **arguments)
        got_gradients = _pyramid_roi_align_backward(
            gpu.put(grad), gpu.put(floats), there, where, *backward
        )
    torch.testing.assert_close(read(got), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(read(got_gradients), gradients, rtol=1e-4, atol=1e-5)
    # However many levels there are.
    assert gpu.by_operator() == {"pyramid_roi_align": 1, "pyramid_roi_align_backward": 1}


def test_roi_pool_and_its_gradient() -> None:
    maps, rois, levels = make_regions()
    grad = torch.randn(7, 3, 4, 4)
    expected, cells = _pyramid_roi_pool(maps, rois, levels, SCALES, 4)
    gradients = _pyramid_roi_pool_backward(grad, cells, maps, rois, levels, SCALES, 4)
    with pretended_gpu() as gpu:
        moved, there, where = gpu.put(maps), gpu.put(rois), gpu.put(levels)
        got, own = _pyramid_roi_pool(moved, there, where, SCALES, 4)
        got_gradients = _pyramid_roi_pool_backward(
            gpu.put(grad), own, moved, there, where, SCALES, 4
        )
    assert torch.equal(read(got), expected)
    torch.testing.assert_close(read(got_gradients), gradients)
    assert gpu.by_operator() == {"pyramid_roi_pool": 1, "pyramid_roi_pool_backward": 1}


@pytest.mark.parametrize("limit", [0, 2])
@pytest.mark.parametrize("most", [3, 40])
def test_suppression(most: int, limit: int) -> None:
    corner = torch.rand(3, 60, 2) * 40
    boxes = torch.cat((corner, corner + 10 + torch.rand(3, 60, 2) * 20), dim=2)
    scores, groups = torch.rand(3, 60), torch.randint(0, 3, (3, 60), dtype=torch.int32)
    valid = torch.rand(3, 60) < 0.8
    valid[1] = False
    arguments = {"iou_threshold": 0.4, "max_output": most, "max_per_group": limit}
    expected = nms_padded(boxes, scores, groups=groups, valid=valid, **arguments)
    with pretended_gpu() as gpu:
        got = nms_padded(
            gpu.put(boxes),
            gpu.put(scores),
            groups=gpu.put(groups),
            valid=gpu.put(valid),
            **arguments,
        )
    assert expected[1].any()
    assert torch.equal(read(got[0]), expected[0])
    assert torch.equal(read(got[1]), expected[1])
    # Each image: the real ones; where the best few are tried, those, the sizes of three groups, and the groups.
    tries = 2 if limit and most == 3 else 1
    assert gpu.by_operator()["nms_padded"] <= 3 + 2 * (1 + tries * (1 + 3))


def test_soft_suppression() -> None:
    corner = torch.rand(2, 30, 2) * 40
    boxes = torch.cat((corner, corner + 20), dim=2)
    scores, groups = torch.rand(2, 30), torch.randint(1, 4, (2, 30))
    valid = torch.rand(2, 30) < 0.8
    expected = soft_nms_padded(
        boxes, scores, groups=groups, valid=valid, method="soft_gaussian", max_output=9
    )
    with pretended_gpu() as gpu:
        got = soft_nms_padded(
            gpu.put(boxes),
            gpu.put(scores),
            groups=gpu.put(groups),
            valid=gpu.put(valid),
            method="soft_gaussian",
            max_output=9,
        )
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(read(ours), theirs)


def test_masks_of_polygons_and_bitmaps() -> None:
    points = torch.tensor([[10.0, 10], [30, 12], [20, 40], [5, 5], [15, 5], [15, 15], [5, 15]])
    bits = (torch.rand(2, 12 * 9) < 0.6).to(torch.uint8).flatten()
    none = [-1, -1, -1, -1, -1]
    windows = torch.tensor([none, [3, 4, 12, 9, 0], none, [8, 2, 9, 12, 108]])
    values = (
        points,
        torch.tensor([0, 3, 7]),
        torch.tensor([0, 1, 1, 2, 2]),
        bits,
        windows,
        torch.rand(9, 4) * 10 + torch.tensor([0.0, 0, 10, 10]),
        torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 1]),
        torch.tensor([True, True, True, True, False, True, True, True, False]),
    )
    expected = rasterize_in_boxes(*values, 8)
    with pretended_gpu() as gpu:
        got = rasterize_in_boxes(*(gpu.put(value) for value in values), 8)
    assert expected.flatten(1).any(dim=1).sum() > 4
    assert torch.equal(read(got), expected)
    # However many bitmaps there are.
    assert gpu.by_operator()["rasterize_in_boxes"] == 3


def test_keypoints() -> None:
    maps, valid = torch.randn(4, 5, 7, 7), torch.tensor([True, False, True, True])
    boxes = torch.rand(4, 4) * 10 + torch.tensor([0.0, 0, 10, 12])
    expected = decode_heat_maps(maps, boxes, valid)
    with pretended_gpu() as gpu:
        got = decode_heat_maps(gpu.put(maps), gpu.put(boxes), gpu.put(valid))
    assert not expected[1].any()
    torch.testing.assert_close(read(got), expected)
    assert gpu.by_operator() == {"decode_heat_maps": 1}


def test_deformable_regions() -> None:
    (data, _), rois, _ = make_regions()
    moves = torch.randn(7, 2, 4, 4)
    arguments = (1 / 4, 4, 3, False, 1, 4, 2, 0.1)
    expected = deform_roi_pooling(data, rois, moves, *arguments)
    with pretended_gpu() as gpu:
        got = deform_roi_pooling(gpu.put(data), gpu.put(rois), gpu.put(moves), *arguments)
    torch.testing.assert_close(read(got), expected)
    assert gpu.waits == {}
