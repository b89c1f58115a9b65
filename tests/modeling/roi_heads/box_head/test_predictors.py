"""The two linear layers of the box head."""

from __future__ import annotations

import pytest
import torch

from maskrcnn_benchmark.modeling.roi_heads.box_head import BoxPredictor


def test_first_weights_and_names() -> None:
    predictor = BoxPredictor(in_channels=256, num_classes=81)
    assert {name: tuple(value.shape) for name, value in predictor.state_dict().items()} == {
        "cls_score.weight": (81, 256),
        "cls_score.bias": (81,),
        "bbox_pred.weight": (324, 256),
        "bbox_pred.bias": (324,),
    }
    assert predictor.cls_score.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert predictor.bbox_pred.weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert not predictor.cls_score.bias.any()
    assert not predictor.bbox_pred.bias.any()


def test_class_agnostic_boxes_are_two() -> None:
    predictor = BoxPredictor(in_channels=6, num_classes=81, class_agnostic=True)
    logits, deltas = predictor(torch.randn(3, 6))
    assert logits.shape == (3, 81)
    assert deltas.shape == (3, 8)


def test_maps_are_averaged_over_space() -> None:
    predictor = BoxPredictor(in_channels=6, num_classes=3)
    x = torch.randn(4, 6, 7, 7)
    torch.testing.assert_close(predictor(x), predictor(x.mean(dim=(2, 3))))


def test_predictions_are_float32_whatever_came() -> None:
    predictor = BoxPredictor(in_channels=6, num_classes=3).bfloat16()
    logits, deltas = predictor(torch.randn(4, 6, dtype=torch.bfloat16))
    assert logits.dtype == deltas.dtype == torch.float32
