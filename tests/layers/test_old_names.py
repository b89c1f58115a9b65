"""The names that the old project exported from `maskrcnn_benchmark.layers`: what they are and how they are called."""

from __future__ import annotations

import importlib

import pytest
import torch
import torchvision
from torch import nn

from maskrcnn_benchmark import layers

NAMES = [
    "nms",
    "roi_align",
    "ROIAlign",
    "roi_pool",
    "ROIPool",
    "smooth_l1_loss",
    "Conv2d",
    "DFConv2d",
    "ConvTranspose2d",
    "interpolate",
    "BatchNorm2d",
    "FrozenBatchNorm2d",
    "SigmoidFocalLoss",
    "deform_conv",
    "modulated_deform_conv",
    "DeformConv",
    "ModulatedDeformConv",
    "ModulatedDeformConvPack",
    "deform_roi_pooling",
    "DeformRoIPooling",
    "DeformRoIPoolingPack",
    "ModulatedDeformRoIPoolingPack",
]

ROIS = torch.tensor([[0.0, 2.0, 3.0, 20.0, 17.0], [1.0, 0.0, 0.0, 31.0, 31.0]])


def test_all_of_them_are_there() -> None:
    assert set(layers.__all__) == set(NAMES)
    assert all(callable(getattr(layers, name)) for name in NAMES)


def test_functions_win_over_the_modules_of_the_same_name() -> None:
    # Whatever was imported before: a module imported later must not take the function's place.
    for name in ("nms", "roi_align", "roi_pool", "deform_conv", "smooth_l1_loss"):
        module = importlib.import_module(f"maskrcnn_benchmark.layers.{name}")
        assert getattr(layers, name) is getattr(module, name)
    from maskrcnn_benchmark.layers.nms import nms_padded

    assert callable(nms_padded)


@pytest.mark.parametrize(
    ("threshold", "kept"),
    [(0.1, [1, 3]), (0.3, [1, 3]), (0.5, [1, 3]), (0.8, [1, 2, 3, 4]), (0.9, [0, 1, 2, 3, 4])],
)
def test_nms_known_answer(threshold: float, kept: list[int]) -> None:
    boxes = torch.tensor(
        [
            [10.0, 10, 50, 60],
            [11.0, 12, 48, 60],
            [8.0, 9, 40, 50],
            [100.0, 100, 150, 140],
            [99.0, 110, 155, 139],
        ]
    )
    scores = torch.tensor([0.5, 0.7, 0.6, 0.9, 0.8])
    got = layers.nms(boxes, scores, threshold)
    assert got.dtype == torch.int64
    assert got.tolist() == kept
    assert layers.nms(boxes[:0], scores[:0], threshold).tolist() == []
    assert layers.nms(boxes.half(), scores.half(), threshold).tolist() == kept


def test_nms_counts_corners_as_inclusive() -> None:
    # 10 x 10 pixels each, 5 x 10 in common: overlap 50 / 150, exactly the threshold, which suppresses.
    boxes = torch.tensor([[0.0, 0, 9, 9], [5.0, 0, 14, 9]])
    assert layers.nms(boxes, torch.tensor([0.9, 0.8]), 1 / 3).tolist() == [0]
    assert layers.nms(boxes, torch.tensor([0.9, 0.8]), 0.34).tolist() == [0, 1]


@pytest.mark.parametrize("ratio", [0, 2])
def test_roi_align(ratio: int) -> None:
    feature = torch.randn(2, 3, 8, 8, requires_grad=True)
    expected = torchvision.ops.roi_align(feature, ROIS, (3, 5), 0.25, ratio, aligned=False)
    got = layers.roi_align(feature, ROIS, (3, 5), 0.25, ratio)
    assert torch.equal(got, expected)
    module = layers.ROIAlign((3, 5), 0.25, ratio)
    assert torch.equal(module(feature, ROIS), expected)
    assert repr(module) == (
        f"ROIAlign(output_size=(3, 5), spatial_scale=0.25, sampling_ratio={ratio})"
    )
    module(feature, ROIS).sum().backward()
    assert feature.grad is not None
    assert layers.ROIAlign((3, 5), 0.25, ratio)(feature, ROIS[:0]).shape == (0, 3, 3, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert module(feature.bfloat16(), ROIS).dtype == torch.float32


def test_roi_pool() -> None:
    feature = torch.randn(2, 3, 8, 8)
    expected = torchvision.ops.roi_pool(feature, ROIS, (3, 5), 0.25)
    assert torch.equal(layers.roi_pool(feature, ROIS, (3, 5), 0.25), expected)
    module = layers.ROIPool((3, 5), 0.25)
    assert torch.equal(module(feature, ROIS), expected)
    assert repr(module) == "ROIPool(output_size=(3, 5), spatial_scale=0.25)"


def test_smooth_l1_loss() -> None:
    prediction = torch.tensor([0.0, 0.05, 2.0], requires_grad=True)
    target = torch.zeros(3)
    each = [0.0, 0.5 * 0.05**2 * 9, 2 - 0.5 / 9]
    mean = layers.smooth_l1_loss(prediction, target)
    assert mean.item() == pytest.approx(sum(each) / 3)
    assert layers.smooth_l1_loss(prediction, target, 1.0 / 9, False).item() == pytest.approx(
        sum(each)
    )
    half = layers.smooth_l1_loss(prediction, target, beta=4, size_average=False)
    assert half.item() == pytest.approx(0.5 * (0.05**2 + 4) / 4)
    mean.backward()
    assert prediction.grad is not None


def test_sigmoid_focal_loss() -> None:
    loss = layers.SigmoidFocalLoss(2.0, 0.25)
    logits = torch.tensor([[0.0, 0.0], [3.0, -3.0], [5.0, 5.0]])
    targets = torch.tensor([1, 0, -1], dtype=torch.int32)
    p = torch.sigmoid(torch.tensor(3.0)).item()
    log = torch.log(torch.tensor(0.5)).item()
    expected = -0.25 * 0.25 * log - 0.75 * 0.25 * log
    expected += -0.75 * p**2 * torch.log(torch.tensor(1 - p)).item()
    expected += -0.75 * (1 - p) ** 2 * torch.log(torch.tensor(p)).item()
    assert loss(logits, targets).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.Conv2d(4, 6, 3, 2, 1), (0, 6, 3, 3)),
        (layers.ConvTranspose2d(4, 6, 2, 2, 0), (0, 6, 10, 10)),
        (layers.BatchNorm2d(4), (0, 4, 5, 5)),
        (layers.FrozenBatchNorm2d(4), (0, 4, 5, 5)),
        (layers.DFConv2d(4, 6, True, 3, 2), (0, 6, 3, 3)),
    ],
)
def test_empty_batches(layer: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.zeros(0, 4, 5, 5, requires_grad=True)
    out = layer(x)
    assert out.shape == shape
    out.sum().backward()
    assert x.grad is not None


def test_torchs_layers_are_torchs() -> None:
    assert layers.Conv2d is nn.Conv2d
    assert layers.ConvTranspose2d is nn.ConvTranspose2d
    assert layers.BatchNorm2d is nn.BatchNorm2d


def test_frozen_batch_norm_has_the_old_buffers() -> None:
    norm = layers.FrozenBatchNorm2d(3)
    values = {"weight": 2.0, "bias": 1.0, "running_mean": 3.0, "running_var": 4.0}
    assert list(norm.state_dict()) == list(values)
    norm.load_state_dict({name: torch.full((3,), value) for name, value in values.items()})
    assert not list(norm.parameters())
    # No epsilon: (5 - 3) * 2 / sqrt(4) + 1.
    assert norm(torch.full((1, 3, 2, 2), 5.0)).eq(3).all()


@pytest.mark.parametrize("path", ["layers", "layers.misc"])
def test_interpolate(path: str) -> None:
    interpolate = importlib.import_module(f"maskrcnn_benchmark.{path}").interpolate
    x = torch.randn(2, 3, 4, 5)
    assert interpolate(x, None, 2).equal(nn.functional.interpolate(x, scale_factor=2))
    assert interpolate(x, (8, 9), None, "bilinear", False).equal(
        nn.functional.interpolate(x, (8, 9), mode="bilinear", align_corners=False)
    )
    assert interpolate(x[:0], scale_factor=2, mode="bilinear", align_corners=False).shape == (
        0,
        3,
        8,
        10,
    )


def test_deformable_functions_are_called_by_position() -> None:
    x, weight, bias = torch.randn(2, 4, 8, 8), torch.randn(6, 2, 3, 3), torch.randn(6)
    offset, mask = torch.randn(2, 36, 4, 4), torch.rand(2, 18, 4, 4)
    plain = layers.deform_conv(x, offset, weight, 2, 1, 1, 2, 2, 64)
    module = layers.DeformConv(4, 6, 3, 2, 1, 1, 2, 2, False)
    module.weight.data.copy_(weight)
    assert torch.equal(module(x, offset), plain)
    modulated = layers.modulated_deform_conv(x, offset, mask, weight, bias, 2, 1, 1, 2, 2)
    second = layers.ModulatedDeformConv(4, 6, 3, 2, 1, 1, 2, 2, True)
    second.load_state_dict({"weight": weight, "bias": bias})
    assert torch.equal(second(x, offset, mask), modulated)
    pack = layers.ModulatedDeformConvPack(4, 6, 3, 2, 1, 1, 2, 2, True)
    assert pack(x).shape == (2, 6, 4, 4)
    assert hasattr(pack, "conv_offset_mask")


def test_deformable_layer() -> None:
    layer = layers.DFConv2d(4, 6, True, 3, 1, 2, 1, 1, True)
    assert sorted(name for name, _ in layer.named_children()) == ["conv", "offset"]
    assert sorted(name for name, _ in layer.conv.named_parameters()) == ["bias", "weight"]
    assert layer(torch.randn(1, 4, 5, 5)).shape == (1, 6, 5, 5)
    assert layers.DFConv2d(4, 6, with_modulated_dcn=False).offset.out_channels == 18


def test_deformable_pooling() -> None:
    data, offset = torch.randn(2, 4, 8, 8), torch.zeros(2, 2, 3, 3)
    pool = layers.DeformRoIPooling(0.25, 3, 4, False, 1, 3, 4, 0.1)
    expected = layers.deform_roi_pooling(data, ROIS, offset, 0.25, 3, 4, False, 1, 3, 4, 0.1)
    assert torch.equal(pool(data, ROIS, offset), expected)
    for kind in (layers.DeformRoIPoolingPack, layers.ModulatedDeformRoIPoolingPack):
        pack = kind(0.25, 3, 4, False, 1, 3, 4, 0.1, deform_fc_channels=16)
        assert pack(data, ROIS).shape == (2, 4, 3, 3)
