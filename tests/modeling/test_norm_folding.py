"""Frozen norms folded once: the same numbers, no norm left."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.layers.norms import FrozenBatchNorm2d
from maskrcnn_benchmark.modeling.backbone.norm_replacement import replace_batch_norms
from maskrcnn_benchmark.modeling.norm_folding import fold_frozen_norms
from tests.thin_models import Kind, make_images, thin_detector


def shake(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    for norm in model.modules():
        if isinstance(norm, FrozenBatchNorm2d):
            for buffer in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) * 0.4 + 0.8)


def count_norms(model: nn.Module) -> int:
    return sum(isinstance(part, FrozenBatchNorm2d) for part in model.modules())


@pytest.mark.parametrize("kind", ["FPN", "C4"])
def test_a_detector_gives_the_same_bits(kind: Kind) -> None:
    model = thin_detector(kind=kind)
    shake(model)
    folded = fold_frozen_norms(copy.deepcopy(model))
    assert count_norms(model) > 10
    assert count_norms(folded) == 0
    images = make_images((96, 128), (80, 100))
    with torch.inference_mode():
        for got, expected in zip(folded(images), model(images), strict=True):
            assert len(expected) > 0
            for name in expected.fields():
                assert torch.equal(got.get_field(name), expected.get_field(name))
            assert torch.equal(got.bbox, expected.bbox)


def test_networks_that_call_their_norms_give_the_same() -> None:
    import torchvision

    model = torchvision.models.resnet18(weights=None).eval()
    replace_batch_norms(model, "FrozenBN")
    shake(model)
    folded = fold_frozen_norms(copy.deepcopy(model))
    assert count_norms(folded) == 0
    image = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(folded(image), model(image), rtol=1e-4, atol=1e-4)


class NormFirst(nn.Module):
    """As in a DenseNet: the norm of the same number is in front."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = FrozenBatchNorm2d(4)
        self.conv1 = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm2 = FrozenBatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 1)  # with a bias
        self.bn2 = FrozenBatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn2(self.conv2(self.norm2(self.conv1(self.norm1(x)))))


def test_what_is_no_pair_stays() -> None:
    model = NormFirst()
    shake(model)
    folded = fold_frozen_norms(copy.deepcopy(model))
    assert count_norms(folded) == 3
    x = torch.randn(1, 4, 8, 8)
    torch.testing.assert_close(folded(x), model(x), rtol=0, atol=0)


def test_a_shared_convolution_is_not_changed() -> None:
    conv = nn.Conv2d(2, 2, 1, bias=False)
    before = conv.weight.clone()
    norm = FrozenBatchNorm2d(2)
    norm.weight.fill_(3)
    folded = fold_frozen_norms(nn.Sequential(conv, norm))
    assert torch.equal(conv.weight, before)
    assert torch.equal(folded[0].weight, before * 3)
