"""The identity whose gradient is smaller."""

from __future__ import annotations

import torch

from maskrcnn_benchmark.layers.scale_gradient import scale_gradient


def test_the_value_stays_and_the_gradient_shrinks() -> None:
    value = torch.randn(3, 4, requires_grad=True)
    scaled = scale_gradient(value, 0.25)
    assert torch.equal(scaled, value)
    (gradient,) = torch.autograd.grad((scaled * 3).sum(), value)
    assert torch.equal(gradient, torch.full((3, 4), 0.75))


def test_nothing_to_train() -> None:
    assert not scale_gradient(torch.ones(2), 0.5).requires_grad
