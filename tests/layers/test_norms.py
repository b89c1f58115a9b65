"""Norms by name, and the frozen norm folded into its convolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.norms import FrozenBatchNorm2d, conv_norm, make_norm


def frozen(channels: int) -> FrozenBatchNorm2d:
    norm = FrozenBatchNorm2d(channels).double()
    norm.weight.uniform_(0.5, 2.0)
    norm.bias.normal_()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.1, 3.0)
    return norm


def test_frozen_norm_by_hand_has_no_epsilon() -> None:
    norm = FrozenBatchNorm2d(1)
    norm.weight.fill_(3.0)
    norm.bias.fill_(0.5)
    norm.running_mean.fill_(2.0)
    norm.running_var.fill_(4e-6)
    got = norm(torch.full((1, 1, 1, 1), 2.004))
    # 3 * (2.004 - 2) / 0.002 + 0.5
    torch.testing.assert_close(got.item(), 6.5, rtol=1e-4, atol=0)


def test_frozen_norm_has_the_old_buffers_and_no_parameters() -> None:
    norm = FrozenBatchNorm2d(4)
    assert list(norm.state_dict()) == ["weight", "bias", "running_mean", "running_var"]
    assert not list(norm.parameters())
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(norm(x), x)


def test_frozen_norm_equals_batch_norm_without_epsilon() -> None:
    norm = frozen(5)
    x = torch.randn(2, 5, 4, 3, dtype=torch.float64)
    # The least that every version of torch takes.
    expected = nn.functional.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-300
    )
    torch.testing.assert_close(norm(x), expected)


@pytest.mark.parametrize("groups", [1, 2])
def test_folded_convolution_equals_convolution_then_norm(groups: int) -> None:
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=2, dilation=2, groups=groups, bias=False).double()
    norm = frozen(6)
    x = torch.randn(2, 4, 9, 7, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(2, 6, 5, 4, dtype=torch.float64)
    folded = conv_norm(conv, norm, x)
    plain = norm(conv(x))
    torch.testing.assert_close(folded, plain)
    wanted = (x, conv.weight)
    got = torch.autograd.grad((folded * direction).sum(), wanted)
    expected = torch.autograd.grad((plain * direction).sum(), wanted)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("name", ["BN", "GN", ""])
def test_other_norms_follow_the_convolution(name: str) -> None:
    conv = nn.Conv2d(3, 4, 3, bias=False)
    norm = make_norm(name, 4, num_groups=2)  # type: ignore[arg-type]
    x = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(conv_norm(conv, norm, x), norm(conv(x)))


def test_a_bias_is_not_lost() -> None:
    conv, norm = nn.Conv2d(3, 4, 1).double(), frozen(4)
    x = torch.randn(1, 3, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(conv_norm(conv, norm, x), norm(conv(x)))


def test_names() -> None:
    assert isinstance(make_norm("FrozenBN", 8), FrozenBatchNorm2d)
    assert isinstance(make_norm("BN", 8), nn.BatchNorm2d)
    assert isinstance(make_norm("SyncBN", 8), nn.SyncBatchNorm)
    assert isinstance(make_norm("", 8), nn.Identity)
    group = make_norm("GN", 8, num_groups=4, eps=1e-3)
    assert isinstance(group, nn.GroupNorm)
    assert (group.num_groups, group.eps) == (4, 1e-3)


def test_an_unknown_norm_is_named() -> None:
    with pytest.raises(ConfigError, match="'LayerNorm'"):
        make_norm("LayerNorm", 8)  # type: ignore[arg-type]


def test_groups_must_divide_the_channels() -> None:
    with pytest.raises(ConfigError, match=r"12 channels.*32 groups.*NUM_GROUPS"):
        make_norm("GN", 12)
