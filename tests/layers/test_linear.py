from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch.utils.flop_counter import FlopCounterMode

from maskrcnn_benchmark.layers import linear
from maskrcnn_benchmark.layers.linear import Linear, multiply


@pytest.fixture(autouse=True)
def _small_products_too(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(linear, "_MIN_PRODUCTS", 0)
    return


def make(rows: int = 7, inputs: int = 12, outputs: int = 5) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((rows, inputs), (outputs, inputs), (outputs,))
    return tuple(
        torch.randn(shape, generator=generator, dtype=torch.float64).float().requires_grad_()
        for shape in shapes
    )


@pytest.mark.parametrize("with_bias", [True, False])
def test_numbers_and_gradients_are_torchs(with_bias: bool) -> None:
    x, weight, bias = make()
    given = (x, weight, bias) if with_bias else (x, weight)
    slope = torch.randn(7, 5)
    got, expected = multiply(*given), F.linear(*given)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(
        torch.autograd.grad((got * slope).sum(), given),
        torch.autograd.grad((expected * slope).sum(), given),
    )


def test_without_rows() -> None:
    _, weight, bias = make()
    assert multiply(torch.zeros(0, 12), weight, bias).shape == (0, 5)


def test_frozen_weights_get_no_gradient() -> None:
    x, weight, bias = make()
    multiply(x, weight.detach(), bias).sum().backward()
    torch.testing.assert_close(x.grad, weight.sum(0).detach().expand(7, -1))


def test_module_keeps_torchs_keys_and_other_shapes() -> None:
    layer = Linear(12, 5)
    assert list(layer.state_dict()) == list(torch.nn.Linear(12, 5).state_dict())
    x = torch.randn(2, 3, 12)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))


def test_mixed_precision_and_other_types_are_torchs() -> None:
    x, weight, bias = make()
    with torch.autocast("cpu", torch.bfloat16):
        assert multiply(x, weight, bias).dtype == torch.bfloat16
    assert multiply(x.double(), weight.double(), bias.double()).dtype == torch.float64


def test_multiplications_can_be_counted() -> None:
    x, weight, bias = make()
    with FlopCounterMode(display=False) as counter:
        multiply(x, weight, bias)
    assert counter.get_total_flops() == 2 * 7 * 12 * 5
