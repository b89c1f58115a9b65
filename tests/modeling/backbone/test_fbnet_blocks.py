"""Blocks of FBNet: widths, operators, names, shortcuts."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual as TorchvisionBlock

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.norms import FrozenBatchNorm2d, make_norm
from maskrcnn_benchmark.modeling.backbone.fbnet_archs import BlockSpec
from maskrcnn_benchmark.modeling.backbone.fbnet_blocks import (
    OPS,
    ConvNorm,
    FBNetStyle,
    InvertedResidual,
    SqueezeExcite,
    make_block,
    make_blocks,
    shuffle_channels,
)


def spec(
    op: str = "ir_k3", *, t: float = 2, channels: int = 8, stride: int = 1, name: str = "xif0_0"
) -> BlockSpec:
    return BlockSpec(name, op, t, channels, stride)


@pytest.mark.parametrize(
    ("channels", "scale", "divisor", "expected"),
    [
        (16, 1.0, 8, 16),
        (16, 0.75, 8, 16),  # 12, halfway: up
        (24, 0.25, 8, 8),  # 6
        (16, 0.25, 8, 8),  # 4
        (3, 1.0, 8, 64),  # rounds to 0
        (60, 1.0, 8, 64),
        (59, 1.0, 8, 56),
        (33, 0.5, 1, 16),  # truncated
    ],
)
def test_widths(channels: int, scale: float, divisor: int, expected: int) -> None:
    assert FBNetStyle(scale=scale, divisor=divisor).width(channels) == expected


@pytest.mark.parametrize("stride", [1, 2])
def test_an_inverted_residual_is_that_of_mobilenet(stride: int) -> None:
    # With norm and ReLU behind the depthwise convolution it is torchvision's, but for the kind of ReLU.
    theirs = TorchvisionBlock(8, 8, stride, 3).eval()
    relu6 = [m for m in theirs.modules() if isinstance(m, nn.ReLU6)]
    for module in relu6:
        module.max_val = float("inf")
    style = FBNetStyle(depthwise_norm=True, depthwise_relu=True)
    ours = make_block(in_channels=8, spec=spec(t=3, stride=stride), style=style).eval()
    values = list(theirs.state_dict().values())
    for value in values:
        if value.dtype.is_floating_point and value.dim() == 1:
            nn.init.uniform_(value, 0.5, 1.5)
    ours.load_state_dict(dict(zip(ours.state_dict(), values, strict=True)))
    x = torch.randn(2, 8, 9, 7)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)


def test_names() -> None:
    plain = make_block(in_channels=8, spec=spec(), style=FBNetStyle())
    names = [name for name, _ in plain.named_parameters()]
    assert names == [
        "pw.conv.weight",
        "pw.bn.weight",
        "pw.bn.bias",
        "dw.conv.weight",
        "pwl.conv.weight",
        "pwl.bn.weight",
        "pwl.bn.bias",
    ]
    both = make_block(
        in_channels=8, spec=spec("ir_k7_sep_e3"), style=FBNetStyle(depthwise_norm=True)
    )
    names = [name for name, _ in both.named_parameters()]
    assert {"dw.dw1.conv.weight", "dw.dw1.bn.weight", "dw.dw2.bn.bias"} < set(names)
    style = FBNetStyle(norm=partial(make_norm, "FrozenBN"))
    frozen = make_block(in_channels=8, spec=spec(), style=style)
    assert isinstance(frozen.get_submodule("pw.bn"), FrozenBatchNorm2d)
    assert len(list(frozen.parameters())) == 3


@pytest.mark.parametrize("op", OPS)
def test_every_operator_runs(op: str) -> None:
    block = make_block(in_channels=8, spec=spec(op, t=2), style=FBNetStyle(divisor=8))
    x = torch.randn(2, 8, 7, 9)
    out = block(x)
    assert out.shape == x.shape
    out.sum().backward()
    assert all(p.grad is not None for p in block.parameters())
    assert isinstance(block, InvertedResidual)
    expansion = OPS[op].expansion or 2
    assert block.pw.conv.out_channels == 8 * expansion
    convs = [m for m in block.modules() if isinstance(m, nn.Conv2d) and m.groups > 4]
    assert len(convs) == (0 if OPS[op].kernel == 1 else 2 if OPS[op].double else 1)
    assert all(conv.kernel_size == (OPS[op].kernel,) * 2 for conv in convs)


def test_depthwise_convolution_with_and_without_norm_and_relu() -> None:
    for norm, relu in ((False, False), (True, False), (False, True), (True, True)):
        style = FBNetStyle(depthwise_norm=norm, depthwise_relu=relu)
        block = make_block(in_channels=8, spec=spec(), style=style)
        depthwise = block.get_submodule("dw")
        assert isinstance(depthwise, ConvNorm)
        assert (depthwise.bn is not None) == norm
        assert depthwise.relu == relu
        double = make_block(in_channels=8, spec=spec("ir_k3_sep"), style=style)
        first, second = (double.get_submodule(f"dw.{name}") for name in ("dw1", "dw2"))
        assert isinstance(first, ConvNorm)
        assert isinstance(second, ConvNorm)
        assert first.bn is not None
        assert first.relu
        assert (second.bn is not None) == norm
        assert second.relu == relu


def test_shortcuts_strides_and_upsampling() -> None:
    x = torch.randn(1, 8, 6, 8)
    kept = make_block(in_channels=8, spec=spec(), style=FBNetStyle()).eval()
    nn.init.zeros_(kept.get_parameter("pwl.conv.weight"))
    assert torch.equal(kept(x), x)
    wider = make_block(in_channels=8, spec=spec(channels=16), style=FBNetStyle()).eval()
    nn.init.zeros_(wider.get_parameter("pwl.conv.weight"))
    assert not wider(x).any()
    halved = make_block(in_channels=8, spec=spec(stride=2), style=FBNetStyle())
    assert halved(x).shape == (1, 8, 3, 4)
    doubled = make_block(in_channels=8, spec=spec(stride=-2), style=FBNetStyle()).eval()
    assert isinstance(doubled, InvertedResidual)
    assert isinstance(doubled.dw, ConvNorm)
    y = F.interpolate(doubled.pw(x), scale_factor=2, mode="nearest")
    torch.testing.assert_close(doubled(x), doubled.pwl(doubled.dw(y)))


def test_shuffled_channels() -> None:
    x = torch.arange(6.0).view(1, 6, 1, 1)
    assert shuffle_channels(x, 2).flatten().tolist() == [0, 3, 1, 4, 2, 5]
    block = make_block(in_channels=8, spec=spec("ir_k3_s4"), style=FBNetStyle())
    assert isinstance(block, InvertedResidual)
    assert block.pw.conv.groups == block.pwl.conv.groups == 4


def test_squeeze_and_excitation() -> None:
    layer = SqueezeExcite(48)
    convs = [m for m in layer.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.bias is not None) for c in convs] == [
        (48, 12, True),
        (12, 48, True),
    ]
    x = torch.randn(2, 48, 3, 5)
    hidden = F.relu(F.conv2d(x.mean((2, 3), keepdim=True), convs[0].weight, convs[0].bias))
    factor = F.conv2d(hidden, convs[1].weight, convs[1].bias).sigmoid()
    torch.testing.assert_close(layer(x), x * factor)
    assert SqueezeExcite(16).op[1].out_channels == 8


def test_skip_and_basic_block() -> None:
    x = torch.randn(1, 8, 6, 8)
    skip = make_block(in_channels=8, spec=spec("skip"), style=FBNetStyle())
    assert torch.equal(skip(x), x)
    assert not list(skip.parameters())
    moved = make_block(in_channels=8, spec=spec("skip", channels=16, stride=2), style=FBNetStyle())
    out: Tensor = moved(x)
    assert out.shape == (1, 16, 3, 4)
    assert (out >= 0).all()
    basic = make_block(in_channels=8, spec=spec("basic_block"), style=FBNetStyle()).eval()
    nn.init.zeros_(basic.get_parameter("conv2.conv.weight"))
    assert torch.equal(basic(x), x)
    basic = make_block(in_channels=8, spec=spec("basic_block", stride=2), style=FBNetStyle())
    assert basic(x).shape == (1, 8, 3, 4)


@pytest.mark.parametrize(
    ("op", "stride", "message"),
    [
        ("shift_5x5", 1, "xif0_0: the operator 'shift_5x5' is not supported"),
        ("ir_k4", 1, "'ir_k4' does not exist. Use one of ir_k1, ir_k3"),
        ("skip", -2, r"skip cannot have the stride -2 \(upsampling\)"),
        ("ir_k1", 2, "ir_k1 has no depthwise convolution"),
        ("ir_k3_s4", 1, "10 channels cannot be split into 4 groups"),
    ],
)
def test_what_cannot_be_built_is_named(op: str, stride: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_block(in_channels=8, spec=spec(op, channels=10, stride=stride), style=FBNetStyle())


def test_blocks_in_a_row() -> None:
    specs = [spec(channels=16, name="xif3_0"), spec(channels=24, stride=2, name="xif3_1")]
    blocks, channels = make_blocks(specs, in_channels=8, style=FBNetStyle())
    assert [name for name, _ in blocks.named_children()] == ["xif3_0", "xif3_1"]
    assert channels == 24
    assert blocks(torch.randn(1, 8, 6, 8)).shape == (1, 24, 3, 4)


def test_first_weights() -> None:
    conv = ConvNorm(in_channels=200, out_channels=100, kernel=3, norm=None).conv
    assert conv.weight.std().item() == pytest.approx((2 / (100 * 9)) ** 0.5, rel=0.01)
    assert conv.bias is None
