"""The two towers: names of the old checkpoints, shapes, initial values."""

from __future__ import annotations

import math

import pytest
import torch

from maskrcnn_benchmark.modeling.rpn.retinanet import RetinaNetHead


def test_names_and_shapes_are_the_old_ones() -> None:
    head = RetinaNetHead(in_channels=8, num_classes=81, num_anchors=9, num_convs=4)
    shapes = {name: tuple(value.shape) for name, value in head.state_dict().items()}
    expected: dict[str, tuple[int, ...]] = {}
    for tower in ("cls_tower", "bbox_tower"):
        for place in (0, 2, 4, 6):
            expected[f"{tower}.{place}.weight"] = (8, 8, 3, 3)
            expected[f"{tower}.{place}.bias"] = (8,)
    expected |= {"cls_logits.weight": (720, 8, 3, 3), "cls_logits.bias": (720,)}
    expected |= {"bbox_pred.weight": (36, 8, 3, 3), "bbox_pred.bias": (36,)}
    assert shapes == expected


def test_every_class_begins_with_the_prior_probability() -> None:
    head = RetinaNetHead(in_channels=64, num_classes=3, prior_probability=0.01)
    assert head.cls_logits.bias is not None
    assert head.cls_logits.bias.unique().item() == pytest.approx(-math.log(99), rel=1e-6)
    for name, value in head.named_parameters():
        if name.endswith("weight"):
            assert value.std().item() == pytest.approx(0.01, rel=0.1)
        elif "cls_logits" not in name:
            assert not value.any()


def test_levels_share_the_layers_and_keep_their_sizes() -> None:
    head = RetinaNetHead(in_channels=8, num_classes=4, num_anchors=2, num_convs=1)
    features = [torch.randn(2, 8, 6, 10), torch.randn(2, 8, 3, 5)]
    logits, deltas = head(features)
    assert [tuple(x.shape) for x in logits] == [(2, 6, 6, 10), (2, 6, 3, 5)]
    assert [tuple(x.shape) for x in deltas] == [(2, 8, 6, 10), (2, 8, 3, 5)]
    alone, _ = head(features[1:])
    torch.testing.assert_close(alone[0], logits[1])


def test_norms_stand_between_convolution_and_relu() -> None:
    head = RetinaNetHead(in_channels=8, num_classes=4, num_convs=2, norm="GN", norm_groups=4)
    kinds = [type(layer).__name__ for layer in head.get_submodule("bbox_tower")]
    assert kinds == ["Conv2d", "GroupNorm", "ReLU"] * 2
    assert head.get_submodule("cls_tower.0").bias is None


def test_no_convolutions_leave_the_maps_as_they_are() -> None:
    head = RetinaNetHead(in_channels=8, num_classes=4, num_convs=0)
    feature = torch.randn(1, 8, 4, 4)
    logits, _ = head([feature])
    torch.testing.assert_close(logits[0], head.cls_logits(feature))
