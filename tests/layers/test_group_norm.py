"""Group norm in both memory layouts against float64, and where torch's own is used."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from maskrcnn_benchmark.layers.group_norm import GroupNorm


def make(shape: tuple[int, ...], groups: int) -> tuple[GroupNorm, Tensor]:
    layer = GroupNorm(groups, shape[1])
    torch.nn.init.uniform_(layer.weight, 0.5, 2.0)
    torch.nn.init.normal_(layer.bias)
    x = (torch.randn(shape) * 2 + 3).contiguous(memory_format=torch.channels_last)
    return layer, x.requires_grad_()


@pytest.mark.parametrize(
    ("shape", "groups"), [((2, 8, 5, 7), 4), ((1, 6, 1, 3), 1), ((3, 4, 2, 2), 4)]
)
def test_values_and_gradients(shape: tuple[int, ...], groups: int) -> None:
    layer, x = make(shape, groups)
    inputs = [x, layer.weight, layer.bias]
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    direction = torch.randn(shape)
    got = layer(x)
    expected = F.group_norm(exact[0], groups, exact[1], exact[2], layer.eps)
    assert got.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(got, expected.float(), rtol=1e-5, atol=1e-5)
    gradients = torch.autograd.grad((got * direction).sum(), inputs)
    wanted = torch.autograd.grad((expected * direction).sum(), exact)
    for gradient, value in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, value.float(), rtol=1e-4, atol=1e-4)


def test_large_maps_are_exact_where_torch_is_not() -> None:
    layer, x = make((1, 64, 200, 272), 32)
    exact = F.group_norm(x.double(), 32, layer.weight.double(), layer.bias.double(), layer.eps)
    with torch.no_grad():
        ours = (layer(x) - exact).abs().max()
        theirs = (F.group_norm(x, 32, layer.weight, layer.bias, layer.eps) - exact).abs().max()
    assert ours < 5e-6
    assert ours < 0.5 * theirs


def test_in_place_activations_and_frozen_inputs() -> None:
    layer, x = make((2, 8, 5, 7), 4)
    F.relu_(layer(x.detach())).sum().backward()
    assert layer.weight.grad is not None
    layer.requires_grad_(requires_grad=False)
    F.relu_(layer(x)).sum().backward()
    assert x.grad is not None
    with torch.inference_mode():
        assert layer(x).shape == x.shape


def test_other_tensors_take_the_usual_way() -> None:
    layer, x = make((2, 8, 5, 7), 4)
    plain = torch.nn.functional.group_norm
    for other in (
        x.detach().contiguous(),
        torch.randn(3, 8),
        torch.zeros(0, 8, 4, 4).contiguous(memory_format=torch.channels_last),
    ):
        assert torch.equal(layer(other), plain(other, 4, layer.weight, layer.bias, layer.eps))
    half = x.detach().bfloat16()
    assert layer.bfloat16()(half).dtype == torch.bfloat16


def test_one_graph() -> None:
    torch.compiler.reset()
    layer, x = make((2, 8, 5, 7), 4)
    model = nn.Sequential(layer, nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(280, 3))
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    inputs = [x, *model.parameters()]
    for f in (compiled, model):
        torch.testing.assert_close(f(x), model(x), rtol=1e-4, atol=1e-5)
        gradients = torch.autograd.grad(f(x).square().sum(), inputs)
        expected = torch.autograd.grad(model(x).square().sum(), inputs)
        torch.testing.assert_close(gradients, expected, rtol=1e-3, atol=1e-4)
    torch.compiler.reset()
