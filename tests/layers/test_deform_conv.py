"""Deformable convolution against ordinary ones on moved maps, and the old modules."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.layers.deform_conv import (
    DeformConv,
    DFConv2d,
    ModulatedDeformConv,
    ModulatedDeformConvPack,
    deform_conv,
    modulated_deform_conv,
)


def whole_offsets(shape: tuple[int, ...], dy: int, dx: int, points: int = 9) -> Tensor:
    """The same shift for all points and places."""
    return torch.tensor([float(dy), float(dx)]).repeat(points).view(1, -1, 1, 1).expand(*shape)


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 1, 1), (2, 1, 1), (1, 2, 2)])
def test_without_offsets_it_is_a_convolution(stride: int, padding: int, dilation: int) -> None:
    x, weight = torch.randn(2, 4, 9, 8), torch.randn(6, 2, 3, 3)
    expected = F.conv2d(x, weight, None, stride, padding, dilation, groups=2)
    offset = torch.zeros(2, 18, *expected.shape[2:])
    got = deform_conv(x, offset, weight, stride, padding, dilation, 2)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    bias, mask = torch.randn(6), torch.full((2, 9, *expected.shape[2:]), 0.5)
    got = modulated_deform_conv(x, offset, mask, weight, bias, stride, padding, dilation, 2)
    torch.testing.assert_close(got, 0.5 * expected + bias[:, None, None], rtol=1e-4, atol=1e-4)


def test_offsets_are_dy_then_dx() -> None:
    x, weight = torch.randn(1, 3, 8, 8), torch.randn(2, 3, 3, 3)
    moved = F.conv2d(F.pad(x, (0, 2, 0, 1))[..., 1:, 2:], weight, padding=1)
    got = deform_conv(x, whole_offsets((1, 18, 8, 8), 1, 2), weight, 1, 1)
    # Away from the border, where the two pad differently.
    torch.testing.assert_close(got[..., 1:6, 1:5], moved[..., 1:6, 1:5], rtol=1e-4, atol=1e-4)


def test_each_group_of_offsets_moves_its_own_channels() -> None:
    x, weight = torch.randn(1, 4, 8, 8), torch.randn(2, 4, 3, 3)
    offset = torch.cat(
        (whole_offsets((1, 18, 8, 8), 0, 0), whole_offsets((1, 18, 8, 8), 1, 0)), dim=1
    )
    got = deform_conv(x, offset, weight, 1, 1, 1, 1, 2)
    second = F.pad(x[:, 2:], (0, 0, 0, 1))[..., 1:, :]
    expected = F.conv2d(torch.cat((x[:, :2], second), dim=1), weight, padding=1)
    torch.testing.assert_close(got[..., 1:6, :], expected[..., 1:6, :], rtol=1e-4, atol=1e-4)


def test_what_does_not_fit_is_said() -> None:
    x, weight = torch.randn(1, 4, 8, 8), torch.randn(2, 4, 3, 3)
    with pytest.raises(ShapeError, match="expected 36 channels in offset for 2 groups of 9"):
        deform_conv(x, torch.zeros(1, 18, 8, 8), weight, 1, 1, 1, 1, 2)
    with pytest.raises(ShapeError, match="expected 9 channels in mask"):
        modulated_deform_conv(
            x, torch.zeros(1, 18, 8, 8), torch.zeros(1, 18, 8, 8), weight, None, 1, 1
        )
    with pytest.raises(ShapeError, match="4 input channels do not fit"):
        deform_conv(x, torch.zeros(1, 18, 8, 8), weight, 1, 1, 1, 2)
    with pytest.raises(ShapeError, match="out_channels 3 cannot be split into 2 groups"):
        DeformConv(4, 3, 3, groups=2)
    with pytest.raises(ValueError, match="bias=False"):
        DeformConv(4, 4, 3, bias=True)


@pytest.mark.parametrize("modulated", [False, True])
def test_no_images(modulated: bool) -> None:
    layer = DFConv2d(4, 6, with_modulated_dcn=modulated, stride=2)
    out = layer(torch.zeros(0, 4, 9, 9))
    assert out.shape == (0, 6, 5, 5)
    out.sum().backward()
    assert layer.offset.weight.grad is not None


def test_under_autocast_sums_are_float32() -> None:
    layer, x = DFConv2d(4, 6).eval(), torch.randn(1, 4, 9, 9)
    offset = layer.offset(x)
    assert isinstance(layer.conv, ModulatedDeformConv)
    expected = layer.conv(x, offset[:, :18], offset[:, 18:].sigmoid())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer.conv(x, offset[:, :18], offset[:, 18:].sigmoid()), expected)
        assert layer(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_the_layer_with_its_own_offsets(modulated: bool, groups: int, kernel: int) -> None:
    layer = DFConv2d(
        4, 6, with_modulated_dcn=modulated, kernel_size=kernel, deformable_groups=groups
    )
    points = kernel * kernel
    assert layer.offset.out_channels == (3 if modulated else 2) * points * groups
    assert layer.offset.weight.abs().sum() > 0
    assert layer.offset.bias is not None
    assert not layer.offset.bias.any()
    names = {name: tuple(p.shape) for name, p in layer.named_parameters()}
    assert list(names) == ["offset.weight", "offset.bias", "conv.weight"]
    x = torch.randn(2, 4, 9, 9)
    out, split = layer.offset(x), 2 * points * groups
    weight = layer.conv.weight
    assert isinstance(weight, Tensor)
    padding = kernel // 2
    if modulated:
        mask = out[:, split:].sigmoid()
        expected = modulated_deform_conv(
            x, out[:, :split], mask, weight, None, 1, padding, 1, 1, groups
        )
    else:
        expected = deform_conv(x, out, weight, 1, padding, 1, 1, groups)
    torch.testing.assert_close(layer(x), expected)


def test_first_weights() -> None:
    for layer in (DeformConv(50, 60, 3), ModulatedDeformConv(50, 60, 3)):
        bound = (50 * 9) ** -0.5
        assert layer.weight.abs().max() <= bound
        assert layer.weight.abs().max() > 0.99 * bound
    assert isinstance(layer.bias, nn.Parameter)
    assert not layer.bias.any()
    assert "deformable_groups=1" in repr(layer)


def test_the_pack_starts_as_half_a_convolution() -> None:
    pack = ModulatedDeformConvPack(4, 6, 3, stride=1, padding=1, deformable_groups=2)
    assert pack.conv_offset_mask.out_channels == 54
    x = torch.randn(2, 4, 9, 9)
    expected = 0.5 * F.conv2d(x, pack.weight, padding=1)
    torch.testing.assert_close(pack(x), expected, rtol=1e-4, atol=1e-4)
    pack(x).square().sum().backward()
    assert pack.conv_offset_mask.weight.grad is not None
    assert pack.conv_offset_mask.weight.grad.abs().sum() > 0


def test_one_graph() -> None:
    torch.compiler.reset()
    layer, x = DFConv2d(4, 6), torch.randn(2, 4, 9, 9)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))
    grads = [
        torch.autograd.grad(f(x).square().sum(), list(layer.parameters()))
        for f in (compiled, layer)
    ]
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-4)
    torch.compiler.reset()
