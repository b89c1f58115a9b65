"""Layers whose group norm is described by the global config, as the old project had them."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from maskrcnn_benchmark.build.parts import norm_arguments
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling.make_layers import make_conv, make_linear


def group_norm(out_channels: int, affine: bool = True, divisor: int = 1) -> nn.GroupNorm:
    """Group norm with the numbers of MODEL.GROUP_NORM in the global config.

    Args:
        out_channels: channels.
        affine: whether it scales and shifts.
        divisor: what NUM_GROUPS, or DIM_PER_GP, is divided by.
    """
    numbers = cfg.MODEL.GROUP_NORM
    if numbers.DIM_PER_GP > 0:
        groups = out_channels // max(numbers.DIM_PER_GP // divisor, 1)
    else:
        groups = numbers.NUM_GROUPS // divisor
    if groups < 1 or out_channels % groups:
        raise ConfigError(
            f"group_norm: {out_channels} channels cannot be split into {groups} groups (MODEL.GROUP_NORM.NUM_GROUPS "
            f"{numbers.NUM_GROUPS}, DIM_PER_GP {numbers.DIM_PER_GP}, divisor {divisor})."
        )
    return nn.GroupNorm(groups, out_channels, eps=numbers.EPSILON, affine=affine)


def make_fc(dim_in: int, hidden_dim: int, use_gn: bool = False) -> nn.Module:
    """Linear layer with Caffe2's initial weights; with a group norm behind it, and then no bias."""
    if not use_gn:
        return make_linear(dim_in, hidden_dim)
    return make_linear(dim_in, hidden_dim, **norm_arguments(cfg, norm="GN", channels=hidden_dim))


def make_conv3x3(
    in_channels: int,
    out_channels: int,
    dilation: int = 1,
    stride: int = 1,
    use_gn: bool = False,
    use_relu: bool = False,
    kaiming_init: bool = True,
) -> nn.Module:
    """3x3 convolution, perhaps with group norm (and then no bias) and ReLU; else normal weights of 0.01."""
    norm = norm_arguments(cfg, norm="GN" if use_gn else "", channels=out_channels)
    return make_conv(
        in_channels,
        out_channels,
        3,
        stride=stride,
        dilation=dilation,
        use_relu=use_relu,
        init="msra" if kaiming_init else "normal",
        **norm,
    )


def conv_with_kaiming_uniform(
    use_gn: bool = False, use_relu: bool = False
) -> Callable[..., nn.Module]:
    """Make a function (in_channels, out_channels, kernel_size, stride=1, dilation=1) that makes convolutions."""

    def make(
        in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, dilation: int = 1
    ) -> nn.Module:
        norm = norm_arguments(cfg, norm="GN" if use_gn else "", channels=out_channels)
        return make_conv(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            dilation=dilation,
            use_relu=use_relu,
            init="xavier",
            **norm,
        )

    return make
