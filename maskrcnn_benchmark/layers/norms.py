"""Normalisation layers, and convolution with a frozen norm folded in.

B: images.    C: channels.    H, W: height and width.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.group_norm import GroupNorm

NormName = Literal["FrozenBN", "BN", "GN", "SyncBN", ""]


class FrozenBatchNorm2d(nn.Module):
    """Batch normalisation whose statistics and affine parameters are constants.

    Detectron: no epsilon, since its stored variances have it already folded in. Norms of other networks that were
    frozen bring their own.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, n: int, *, eps: float = 0.0) -> None:
        """Start as the identity over `n` channels; `eps` is added to the variance."""
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(n))
        self.register_buffer("bias", torch.zeros(n))
        self.register_buffer("running_mean", torch.zeros(n))
        self.register_buffer("running_var", torch.ones(n))

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """The layer as y = x * scale + shift, both (C,)."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        scale, shift = self.scale_and_shift()
        return x * scale[:, None, None].to(x.dtype) + shift[:, None, None].to(x.dtype)

    def extra_repr(self) -> str:
        """Show the number of channels."""
        return str(self.weight.numel())


def make_norm(
    name: NormName, channels: int, *, num_groups: int = 32, eps: float = 1e-5
) -> nn.Module:
    """Build a norm by name over `channels`; "" is the identity.

    Args:
        name: FrozenBN, BN, GN, SyncBN or "".
        channels: number of channels.
        num_groups: groups of GN.
        eps: epsilon of GN.

    Raises:
        ConfigError: for another name, or channels that the groups do not divide.
    """
    if name == "FrozenBN":
        return FrozenBatchNorm2d(channels)
    if name == "BN":
        return nn.BatchNorm2d(channels)
    if name == "SyncBN":
        return nn.SyncBatchNorm(channels)
    if name == "":
        return nn.Identity()
    if name != "GN":
        raise ConfigError(f"norm: expected FrozenBN, BN, GN, SyncBN or '', got {name!r}.")
    if channels % num_groups:
        raise ConfigError(
            f"GroupNorm: {channels} channels cannot be split into {num_groups} groups. "
            "Set MODEL.GROUP_NORM.NUM_GROUPS to a divisor, or to -1 with DIM_PER_GP."
        )
    return GroupNorm(num_groups, channels, eps=eps)


def conv_norm(conv: nn.Conv2d, norm: nn.Module, x: Tensor) -> Tensor:
    """`norm(conv(x))`, in one convolution where the norm is frozen.

    A frozen norm only scales and shifts, so it is folded into the weights: scaling 25 M weights of a ResNet-50
    costs a hundredth of scaling its activations, and training need not keep the activations before the norm.
    """
    if not isinstance(norm, FrozenBatchNorm2d) or conv.bias is not None:
        result: Tensor = norm(conv(x))
        return result
    scale, shift = norm.scale_and_shift()
    weight = conv.weight * scale[:, None, None, None]
    return F.conv2d(x, weight, shift, conv.stride, conv.padding, conv.dilation, conv.groups)
