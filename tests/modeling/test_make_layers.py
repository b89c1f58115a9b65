"""Combinations of a convolution or linear layer with norm and activation: parts, names, first weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.norms import NormName
from maskrcnn_benchmark.modeling.make_layers import initialise, make_conv, make_linear


def test_a_bare_convolution_keeps_the_size() -> None:
    for kernel, dilation in ((1, 1), (3, 1), (3, 2), (5, 1)):
        conv = make_conv(4, 6, kernel, dilation=dilation)
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        assert not conv.bias.any()
        assert conv(torch.randn(1, 4, 9, 11)).shape == (1, 6, 9, 11)
    assert make_conv(4, 6, 3, stride=2)(torch.randn(1, 4, 9, 11)).shape == (1, 6, 5, 6)


def test_norm_takes_the_place_of_the_bias() -> None:
    layer = make_conv(4, 6, 3, norm="GN", norm_groups=2, norm_eps=1e-3, use_relu=True)
    assert [name for name, _ in layer.named_parameters()] == ["0.weight", "1.weight", "1.bias"]
    norm = layer.get_submodule("1")
    assert isinstance(norm, nn.GroupNorm)
    assert (norm.num_groups, norm.eps) == (2, 1e-3)
    assert (layer(torch.randn(1, 4, 5, 5)) >= 0).all()
    linear = make_linear(4, 6, norm="GN", norm_groups=2)
    assert [name for name, _ in linear.named_parameters()] == ["0.weight", "1.weight", "1.bias"]
    assert linear(torch.randn(3, 4)).shape == (3, 6)
    assert isinstance(make_linear(4, 6), nn.Linear)


@pytest.mark.parametrize(
    ("init", "deviation"),
    # Caffe2's fillers for 200 -> 100 channels and 3x3: variance 1 / fan in, 2 / fan out, and 0.01 squared.
    [("xavier", (200 * 9) ** -0.5), ("msra", (2 / (100 * 9)) ** 0.5), ("normal", 0.01)],
)
def test_first_weights(init: str, deviation: float) -> None:
    conv = nn.Conv2d(200, 100, 3)
    initialise(conv, init)  # type: ignore[arg-type]
    assert conv.weight.std().item() == pytest.approx(deviation, rel=0.01)
    assert conv.bias is not None
    assert not conv.bias.any()


def test_first_weights_of_a_linear_layer() -> None:
    linear = make_linear(500, 300)
    assert isinstance(linear, nn.Linear)
    assert linear.weight.std().item() == pytest.approx(500**-0.5, rel=0.01)
    assert not linear.bias.any()


def test_transposed_convolutions_count_their_inputs() -> None:
    # PyTorch's fan out of a transposed weight is in * 4, which is what Detectron's weights were filled by.
    conv = nn.ConvTranspose2d(200, 100, 2, stride=2)
    initialise(conv, "msra")
    assert conv.weight.std().item() == pytest.approx((2 / (200 * 4)) ** 0.5, rel=0.01)


@pytest.mark.parametrize("norm", ["BN", "GN", "SyncBN", "FrozenBN"])
def test_any_norm(norm: NormName) -> None:
    conv = make_conv(4, 8, 3, norm=norm, norm_groups=2).eval()
    assert conv(torch.randn(2, 4, 5, 5)).shape == (2, 8, 5, 5)
    assert "0.bias" not in conv.state_dict()
    if norm == "FrozenBN":
        with pytest.raises(ConfigError, match="linear layer: expected BN, GN, SyncBN"):
            make_linear(4, 8, norm=norm)
        return
    linear = make_linear(4, 8, norm=norm, norm_groups=2).eval()
    assert linear(torch.randn(3, 4)).shape == (3, 8)
