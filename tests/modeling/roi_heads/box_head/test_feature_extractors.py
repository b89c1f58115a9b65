"""Features of regions: the two fully connected layers, and the last stage of the ResNet."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from maskrcnn_benchmark.layers.norms import FrozenBatchNorm2d, NormName
from maskrcnn_benchmark.modeling.backbone import ResNetStages
from maskrcnn_benchmark.modeling.poolers import Pooler, Rows
from maskrcnn_benchmark.modeling.roi_heads.box_head import (
    FPN2MLPFeatureExtractor,
    FPNXconv1fcFeatureExtractor,
    ResNetConv5FeatureExtractor,
)
from maskrcnn_benchmark.modeling.roi_heads.mask_head import MaskFeatureExtractor

BOXES = torch.tensor([[[3.0, 4.0, 60.0, 70.0], [10.0, 0.0, 30.0, 20.0]]])
ROWS = Rows.of(torch.ones(1, 2, dtype=torch.bool))


def test_two_layers_on_the_flattened_region() -> None:
    pooler = Pooler(output_size=3, scales=(1 / 4, 1 / 8), sampling_ratio=2)
    extractor = FPN2MLPFeatureExtractor(pooler=pooler, in_channels=5, hidden=7)
    features = [torch.randn(1, 5, 24, 24), torch.randn(1, 5, 12, 12)]
    got = extractor(features, BOXES, ROWS)
    # Flattened in the order channel, row, column, as the old checkpoints are.
    x = torch.stack([region.contiguous().view(-1) for region in pooler(features, BOXES, ROWS)])
    assert isinstance(extractor.fc6, nn.Linear)
    assert isinstance(extractor.fc7, nn.Linear)
    x = F.relu(F.linear(x, extractor.fc6.weight, extractor.fc6.bias))
    x = F.relu(F.linear(x, extractor.fc7.weight, extractor.fc7.bias))
    torch.testing.assert_close(got, x)
    assert extractor.out_channels == 7
    assert list(extractor.state_dict()) == ["fc6.weight", "fc6.bias", "fc7.weight", "fc7.bias"]


def test_group_norm_has_the_old_names() -> None:
    pooler = Pooler(output_size=3, scales=(1 / 4,), sampling_ratio=2)
    extractor = FPN2MLPFeatureExtractor(
        pooler=pooler, in_channels=5, hidden=8, norm="GN", norm_groups=4
    )
    assert list(extractor.state_dict()) == [
        f"{layer}.{part}" for layer in ("fc6", "fc7") for part in ("0.weight", "1.weight", "1.bias")
    ]
    got = extractor([torch.randn(1, 5, 24, 24)], BOXES, ROWS)
    assert got.shape == (2, 8)
    assert (got >= 0).all()


def test_the_last_stage_halves_the_region() -> None:
    pooler = Pooler(output_size=14, scales=(1 / 16,), sampling_ratio=0)
    head = ResNetStages(stages=(4,), width=4, out_channels=8, in_channels=32)
    extractor = ResNetConv5FeatureExtractor(pooler=pooler, head=head)
    got = extractor([torch.randn(1, 32, 6, 6)], BOXES, ROWS)
    assert got.shape == (2, 64, 7, 7)
    assert extractor.out_channels == 64
    assert all(name.startswith("head.layer4.") for name in extractor.state_dict())


def test_convolutions_then_one_layer() -> None:
    pooler = Pooler(output_size=3, scales=(1 / 4, 1 / 8), sampling_ratio=2)
    extractor = FPNXconv1fcFeatureExtractor(
        pooler=pooler, in_channels=5, num_convs=2, conv_channels=6, hidden=7, dilation=2
    )
    assert list(extractor.state_dict()) == [
        "xconvs.0.weight",
        "xconvs.0.bias",
        "xconvs.2.weight",
        "xconvs.2.bias",
        "fc6.weight",
        "fc6.bias",
    ]
    features = [torch.randn(1, 5, 24, 24), torch.randn(1, 5, 12, 12)]
    x = pooler(features, BOXES, ROWS)
    for name in ("0", "2"):
        conv = extractor.xconvs.get_submodule(name)
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        x = F.relu(F.conv2d(x, conv.weight, conv.bias, padding=2, dilation=2))
        # Detectron's filler for this head.
        assert conv.weight.std().item() == pytest.approx(0.01, rel=0.2)
    assert isinstance(extractor.fc6, nn.Linear)
    x = F.relu(F.linear(x.flatten(1), extractor.fc6.weight, extractor.fc6.bias))
    torch.testing.assert_close(extractor(features, BOXES, ROWS), x)
    assert extractor.out_channels == 7


@pytest.mark.parametrize(
    ("norm", "kind"),
    [("GN", nn.GroupNorm), ("BN", nn.BatchNorm2d), ("FrozenBN", FrozenBatchNorm2d)],
)
def test_convolutions_with_a_norm(norm: NormName, kind: type[nn.Module]) -> None:
    pooler = Pooler(output_size=3, scales=(1 / 4,), sampling_ratio=2)
    extractor = FPNXconv1fcFeatureExtractor(
        pooler=pooler, in_channels=8, conv_channels=8, hidden=7, norm=norm, norm_groups=4
    )
    names = [name for name, _ in extractor.named_parameters() if "weight" in name]
    affine = {0, 1, 3, 4, 6, 7, 9, 10} if norm != "FrozenBN" else {0, 3, 6, 9}
    assert names == [f"xconvs.{number}.weight" for number in sorted(affine)] + ["fc6.weight"]
    assert all(isinstance(extractor.xconvs[i], kind) for i in (1, 4, 7, 10))
    assert "xconvs.0.bias" not in extractor.state_dict()
    got = extractor([torch.randn(1, 8, 24, 24)], BOXES, ROWS)
    assert got.shape == (2, 7)
    got.sum().backward()


def make_with_batch_norm(kind: str) -> nn.Module:
    torch.manual_seed(0)
    pooler = Pooler(output_size=4, scales=(1 / 4,), sampling_ratio=2)
    if kind == "2mlp":
        return FPN2MLPFeatureExtractor(pooler=pooler, in_channels=8, hidden=7, norm="BN")
    if kind == "4conv1fc":
        return FPNXconv1fcFeatureExtractor(pooler=pooler, in_channels=8, hidden=7, norm="BN")
    if kind == "mask":
        return MaskFeatureExtractor(pooler=pooler, in_channels=8, layers=(8, 8), norm="BN")
    depth = 18 if kind == "basic" else 50
    head = ResNetStages(stages=(4,), depth=depth, width=4, out_channels=8, in_channels=8, norm="BN")
    return ResNetConv5FeatureExtractor(pooler=pooler, head=head)


@pytest.mark.parametrize("kind", ["2mlp", "4conv1fc", "mask", "basic", "bottleneck"])
def test_padding_rows_do_not_train_batch_norms(kind: str) -> None:
    boxes = torch.rand(1, 6, 2).repeat(1, 1, 2) * 40
    boxes[..., 2:] += 30
    valid = torch.tensor([[True, True, False, True, False, False]])
    features = [torch.randn(1, 8, 24, 24)]
    results = []
    for rows in (Rows.of(valid), Rows(None, valid.flatten())):
        extractor = make_with_batch_norm(kind)
        x = extractor(features, boxes, rows)[rows.valid]
        results.append((x, dict(extractor.named_buffers())))
    assert len(results[0][1]) >= 6
    torch.testing.assert_close(results[1], results[0], rtol=1e-3, atol=1e-4)
