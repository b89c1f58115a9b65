"""Masked losses against plain arithmetic over the rows that count."""

from __future__ import annotations

import math

import pytest
import torch

from maskrcnn_benchmark.layers.losses import masked_mean, smooth_l1_sum


def naive_smooth_l1(difference: float, beta: float) -> float:
    size = abs(difference)
    return 0.5 * size * size / beta if size < beta else size - 0.5 * beta


@pytest.mark.parametrize("beta", [1.0, 1.0 / 9])
def test_smooth_l1_by_hand(beta: float) -> None:
    prediction = torch.tensor([[0.0, 0.05, -0.5, 2.0], [7.0, 7.0, 7.0, 7.0]], dtype=torch.float64)
    target = torch.zeros(2, 4, dtype=torch.float64)
    got = smooth_l1_sum(prediction, target, torch.tensor([True, False]), beta=beta)
    expected = sum(naive_smooth_l1(value, beta) for value in (0.0, 0.05, -0.5, 2.0))
    assert math.isclose(got.item(), expected, rel_tol=1e-12)


def test_smooth_l1_at_the_joint() -> None:
    values = torch.tensor([[1.0]])
    assert smooth_l1_sum(values, torch.zeros(1, 1), torch.tensor([True]), beta=1.0).item() == 0.5


@pytest.mark.parametrize("garbage", [math.inf, -math.inf, math.nan])
def test_rows_that_do_not_count_may_hold_anything(garbage: float) -> None:
    prediction = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    target = torch.tensor([[0.0, 0.0], [garbage, garbage]])
    loss = smooth_l1_sum(prediction, target, torch.tensor([True, False]), beta=1.0)
    loss.backward()
    assert loss.item() == 0.5 + 1.5
    assert prediction.grad is not None
    assert prediction.grad.tolist() == [[1.0, 1.0], [0.0, 0.0]]


def test_masked_mean() -> None:
    values = torch.tensor([1.0, 2.0, math.nan, 6.0], requires_grad=True)
    loss = masked_mean(values, torch.tensor([True, True, False, True]))
    loss.backward()
    assert loss.item() == 3.0
    assert values.grad is not None
    torch.testing.assert_close(values.grad, torch.tensor([1 / 3, 1 / 3, 0.0, 1 / 3]))


def test_mean_of_nothing_is_zero_and_trains_nothing() -> None:
    values = torch.randn(3, requires_grad=True)
    loss = masked_mean(values, torch.zeros(3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0.0
    assert values.grad is not None
    assert values.grad.tolist() == [0.0, 0.0, 0.0]


def test_one_sum_for_each_image() -> None:
    prediction, target = torch.randn(3, 5, 4), torch.randn(3, 5, 4)
    mask = torch.rand(3, 5) < 0.6
    got = smooth_l1_sum(prediction, target, mask, beta=0.3, per_image=True)
    expected = [
        smooth_l1_sum(p, t, m, beta=0.3) for p, t, m in zip(prediction, target, mask, strict=True)
    ]
    torch.testing.assert_close(got, torch.stack(expected))
