"""Small combinations of a convolution or a linear layer with a norm and an activation."""

from __future__ import annotations

from typing import Literal

from torch import nn

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.linear import Linear
from maskrcnn_benchmark.layers.norms import NormName, make_norm
from maskrcnn_benchmark.utils.old_names import old_names

# Old names, which live elsewhere now.
__getattr__ = old_names(
    __name__,
    {
        "conv_with_kaiming_uniform": "maskrcnn_benchmark.build.legacy.layers",
        "group_norm": "maskrcnn_benchmark.build.legacy.layers",
        "make_conv3x3": "maskrcnn_benchmark.build.legacy.layers",
        "make_fc": "maskrcnn_benchmark.build.legacy.layers",
    },
)

# xavier: Caffe2's XavierFill (uniform, fan in); msra: Caffe2's MSRAFill (normal, fan out); normal: std 0.01.
InitName = Literal["xavier", "msra", "normal"]


def initialise(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, init: InitName) -> None:
    """Fill the weights as Detectron did, and the bias with zeros."""
    if init == "xavier":
        nn.init.kaiming_uniform_(layer.weight, a=1)
    elif init == "msra":
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    else:
        nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def make_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    norm: NormName = "",
    norm_groups: int = 32,
    norm_eps: float = 1e-5,
    use_relu: bool = False,
    init: InitName = "msra",
) -> nn.Module:
    """A convolution that keeps the size (at stride 1), perhaps with norm and ReLU behind it.

    A convolution without norm has a bias. The result is the bare convolution, or a Sequential of the parts: parameter
    names are those of the old project either way.
    """
    conv = nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=dilation * (kernel_size - 1) // 2,
        dilation=dilation,
        bias=not norm,
    )
    initialise(conv, init)
    parts: list[nn.Module] = [conv]
    if norm:
        parts.append(make_norm(norm, out_channels, num_groups=norm_groups, eps=norm_eps))
    if use_relu:
        parts.append(nn.ReLU(inplace=True))
    return nn.Sequential(*parts) if len(parts) > 1 else conv


def make_linear(
    in_features: int,
    out_features: int,
    *,
    norm: NormName = "",
    norm_groups: int = 32,
    norm_eps: float = 1e-5,
) -> nn.Module:
    """A linear layer, perhaps with a norm behind it (then without bias).

    Raises:
        ConfigError: for FrozenBN, which no pre-trained linear layer has statistics for.
    """
    linear = Linear(in_features, out_features, bias=not norm)
    initialise(linear, "xavier")
    if not norm:
        return linear
    if norm == "FrozenBN":
        raise ConfigError("norm of a linear layer: expected BN, GN, SyncBN or '', got 'FrozenBN'.")
    if norm == "BN":
        return nn.Sequential(linear, nn.BatchNorm1d(out_features))
    return nn.Sequential(
        linear, make_norm(norm, out_features, num_groups=norm_groups, eps=norm_eps)
    )
