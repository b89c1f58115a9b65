"""The layers of the old package, with its signatures."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import torchvision.ops

import maskrcnn_benchmark.layers.misc
from maskrcnn_benchmark import layers
from maskrcnn_benchmark.layers import (
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    DeformConv,
    DeformRoIPooling,
    DeformRoIPoolingPack,
    DFConv2d,
    FrozenBatchNorm2d,
    ModulatedDeformConv,
    ModulatedDeformConvPack,
    ModulatedDeformRoIPoolingPack,
    ROIAlign,
    ROIPool,
    SigmoidFocalLoss,
    deform_conv,
    deform_roi_pooling,
    interpolate,
    modulated_deform_conv,
    nms,
    roi_align,
    roi_pool,
    smooth_l1_loss,
)
from tests.legacy.contract import contract


@contract("layers.Conv2d", "layers.ConvTranspose2d", "layers.BatchNorm2d", "layers")
def test_ordinary_layers_take_empty_batches() -> None:
    empty = torch.rand(0, 3, 8, 8, requires_grad=True)
    x = BatchNorm2d(4).eval()(Conv2d(3, 4, 3, stride=2, padding=1)(empty))
    assert ConvTranspose2d(4, 5, 2, 2)(x).shape == (0, 5, 8, 8)
    assert list(Conv2d(3, 4, 3).state_dict()) == ["weight", "bias"]
    assert layers.interpolate is interpolate
    assert "ROIAlign" in layers.__all__


@contract("layers.interpolate", "layers.misc.interpolate")
def test_interpolate() -> None:
    assert maskrcnn_benchmark.layers.misc.interpolate is interpolate
    x = torch.rand(2, 3, 4, 6)
    torch.testing.assert_close(interpolate(x, scale_factor=2), F.interpolate(x, scale_factor=2))
    ours = interpolate(x, size=(5, 9), mode="bilinear", align_corners=False)
    torch.testing.assert_close(ours, F.interpolate(x, (5, 9), mode="bilinear", align_corners=False))
    assert interpolate(x[:0], scale_factor=2).shape == (0, 3, 8, 12)
    assert interpolate(x[:0], size=(5, 9)).shape == (0, 3, 5, 9)


@contract("layers.nms")
def test_nms() -> None:
    # The known answer of numerics.md 7.
    boxes = torch.tensor(
        [
            [10, 10, 50, 60],
            [11, 12, 48, 60],
            [8, 9, 40, 50],
            [100, 100, 150, 140],
            [99, 110, 155, 139],
        ],
        dtype=torch.float32,
    )
    scores = torch.tensor([0.5, 0.7, 0.6, 0.9, 0.8])
    for threshold, kept in ((0.1, [1, 3]), (0.3, [1, 3]), (0.5, [1, 3]), (0.8, [1, 2, 3, 4])):
        assert nms(boxes, scores, threshold).tolist() == kept
    assert nms(boxes, scores, 0.9).tolist() == [0, 1, 2, 3, 4]
    assert nms(boxes[:0], scores[:0], 0.5).dtype == torch.int64


@contract("layers.ROIAlign", "layers.roi_align")
def test_roi_align() -> None:
    x = torch.rand(2, 3, 16, 16, requires_grad=True)
    rois = torch.tensor([[0, 4, 4, 40, 50], [1, 10, 3, 11, 3.5]])
    wanted = torchvision.ops.roi_align(x, rois, (7, 5), 0.25, 2, aligned=False)
    layer = ROIAlign((7, 5), spatial_scale=0.25, sampling_ratio=2)
    torch.testing.assert_close(layer(x, rois), wanted)
    torch.testing.assert_close(roi_align(x, rois, (7, 5), 0.25, 2), wanted)
    layer(x, rois).sum().backward()
    assert x.grad is not None
    assert ROIAlign((7, 7), 0.25, 0)(x, rois[:0]).shape == (0, 3, 7, 7)


@contract("layers.ROIPool", "layers.roi_pool")
def test_roi_pool() -> None:
    x = torch.rand(2, 3, 16, 16)
    rois = torch.tensor([[0, 4, 4, 40, 50], [1, 10, 3, 30, 30]], dtype=torch.float32)
    wanted = torchvision.ops.roi_pool(x, rois, (7, 7), 0.25)
    torch.testing.assert_close(ROIPool((7, 7), 0.25)(x, rois), wanted)
    torch.testing.assert_close(roi_pool(x, rois, (7, 7), 0.25), wanted)


@contract("layers.smooth_l1_loss")
def test_smooth_l1_loss() -> None:
    prediction, target = torch.tensor([0.0, 0.05, 2.0]), torch.zeros(3)
    values = torch.tensor([0.0, 0.5 * 0.05**2 * 9, 2 - 0.5 / 9])
    torch.testing.assert_close(smooth_l1_loss(prediction, target), values.mean())
    summed = smooth_l1_loss(prediction, target, size_average=False, beta=1)
    assert summed.item() == pytest.approx(0.5 * 0.05**2 + 1.5)


@contract("layers.SigmoidFocalLoss")
def test_sigmoid_focal_loss() -> None:
    logits = torch.tensor([[0.5, -1.0], [2.0, 0.3], [0.1, 0.1]])
    targets = torch.tensor([1, 0, -1])
    gamma, alpha = 2.0, 0.25
    p = logits.sigmoid()

    def positive(p: torch.Tensor) -> torch.Tensor:
        return -alpha * (1 - p) ** gamma * p.log()

    def negative(p: torch.Tensor) -> torch.Tensor:
        return -(1 - alpha) * p**gamma * (1 - p).log()

    wanted = positive(p[0, 0]) + negative(p[0, 1]) + negative(p[1]).sum()
    torch.testing.assert_close(SigmoidFocalLoss(gamma, alpha)(logits, targets.int()), wanted)
    torch.testing.assert_close(SigmoidFocalLoss(gamma, alpha)(logits, targets), wanted)
    # Mended: finite for saturated logits.
    assert SigmoidFocalLoss(2, 0.25)(torch.tensor([[200.0, -200.0]]), torch.tensor([2])).isfinite()


@contract("layers.FrozenBatchNorm2d")
def test_frozen_batch_norm() -> None:
    norm = FrozenBatchNorm2d(3)
    assert list(norm.state_dict()) == ["weight", "bias", "running_mean", "running_var"]
    assert not list(norm.parameters())
    norm.running_var.fill_(4.0)
    norm.running_mean.fill_(1.0)
    x = torch.rand(2, 3, 4, 4)
    # No epsilon.
    torch.testing.assert_close(norm(x), (x - 1) / 2)


@contract("layers.DFConv2d")
def test_dfconv2d() -> None:
    conv = DFConv2d(4, 6)
    assert set(conv.state_dict()) == {"offset.weight", "offset.bias", "conv.weight"}
    assert conv.offset.weight.shape == (27, 4, 3, 3)
    assert conv(torch.rand(2, 4, 8, 10)).shape == (2, 6, 8, 10)
    plain = DFConv2d(4, 6, with_modulated_dcn=False, stride=2)
    assert plain.offset.weight.shape == (18, 4, 3, 3)
    assert plain(torch.rand(2, 4, 8, 10)).shape == (2, 6, 4, 5)


@contract(
    "layers.DeformConv",
    "layers.ModulatedDeformConv",
    "layers.ModulatedDeformConvPack",
    "layers.deform_conv",
    "layers.modulated_deform_conv",
)
def test_deformable_convolutions() -> None:
    x = torch.rand(2, 4, 8, 8)
    offset, mask = torch.zeros(2, 18, 8, 8), torch.ones(2, 9, 8, 8)
    v1, v2 = DeformConv(4, 6, 3, padding=1), ModulatedDeformConv(4, 6, 3, padding=1)
    assert list(v1.state_dict()) == ["weight"]
    assert set(v2.state_dict()) == {"weight", "bias"}
    assert v1.weight.abs().max() <= 1 / math.sqrt(4 * 9)
    # Without offsets they are ordinary convolutions.
    plain = F.conv2d(x, v1.weight, padding=1)
    torch.testing.assert_close(v1(x, offset), plain)
    torch.testing.assert_close(deform_conv(x, offset, v1.weight, 1, 1), plain)
    plain = F.conv2d(x, v2.weight, v2.bias, padding=1)
    torch.testing.assert_close(v2(x, offset, mask), plain)
    halved = modulated_deform_conv(x, offset, mask * 0.5, v2.weight, v2.bias, 1, 1)
    torch.testing.assert_close(halved, F.conv2d(x, v2.weight * 0.5, v2.bias, padding=1))
    # A whole-pixel offset (dy, dx) = (0, 1) looks one to the right.
    shifted = offset.clone()
    shifted[:, 1::2] = 1
    torch.testing.assert_close(
        v1(x, shifted)[..., :-2], F.conv2d(x, v1.weight, padding=1)[..., 1:-1]
    )
    pack = ModulatedDeformConvPack(4, 6, 3, padding=1)
    assert not pack.conv_offset_mask.weight.any()
    # It starts without offsets and with the mask 0.5.
    torch.testing.assert_close(pack(x), F.conv2d(x, pack.weight * 0.5, pack.bias, padding=1))
    with pytest.raises((AssertionError, ValueError)):
        DeformConv(4, 6, 3, bias=True)


@contract(
    "layers.deform_roi_pooling",
    "layers.DeformRoIPooling",
    "layers.DeformRoIPoolingPack",
    "layers.ModulatedDeformRoIPoolingPack",
)
def test_deformable_roi_pooling() -> None:
    data = torch.full((1, 8, 16, 16), 3.0)
    rois = torch.tensor([[0, 8, 8, 40, 40], [0, 4, 4, 20, 30]], dtype=torch.float32)
    offset = torch.zeros(2, 2, 7, 7)
    pooled = DeformRoIPooling(0.25, 7, 8, no_trans=True)(data, rois, offset)
    torch.testing.assert_close(pooled, torch.full((2, 8, 7, 7), 3.0))
    direct = deform_roi_pooling(data, rois, offset, 0.25, 7, 8, True)
    torch.testing.assert_close(direct, pooled)
    grouped = DeformRoIPooling(0.25, 2, 2, no_trans=True, group_size=2)(data, rois, offset)
    assert grouped.shape == (2, 2, 2, 2)
    for pack in (DeformRoIPoolingPack, ModulatedDeformRoIPoolingPack):
        layer = pack(0.25, 7, 8, no_trans=False, trans_std=0.1, deform_fc_channels=16)
        assert layer(data, rois).shape == (2, 8, 7, 7)
