"""Features of regions: the two fully connected layers, and the last stage of the ResNet."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from maskrcnn_benchmark.modeling.backbone import ResNetStages
from maskrcnn_benchmark.modeling.poolers import Pooler, Rows
from maskrcnn_benchmark.modeling.roi_heads.box_head import (
    FPN2MLPFeatureExtractor,
    ResNetConv5FeatureExtractor,
)

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
