"""Another norm in the place of a finished network's batch norms, under the same names.

Networks of torchvision and timm come with batch norms, which learn little from the two images per GPU that detectors
train on: they are frozen, synchronised or replaced by group norms.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.layers.norms import FrozenBatchNorm2d, NormName, conv_norm, make_norm


class _ActivatedFrozenBatchNorm2d(FrozenBatchNorm2d):
    """A frozen norm with the activation that timm keeps inside its norms."""

    act: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        result: Tensor = self.act(super().forward(x))
        return result


class _ActivatedSyncBatchNorm(nn.SyncBatchNorm):
    """A synchronised norm with timm's activation."""

    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        result: Tensor = self.act(super().forward(input))
        return result


class _ActivatedGroupNorm(nn.GroupNorm):
    """A group norm with timm's activation."""

    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        result: Tensor = self.act(super().forward(input))
        return result


class _ConvNormSequential(nn.Sequential):
    """A chain in which a frozen norm behind a convolution is folded into it."""

    def forward(self, input: Tensor) -> Tensor:
        """Run the parts in their order."""
        x, parts = input, list(self)
        while parts:
            part = parts.pop(0)
            if isinstance(part, nn.Conv2d) and parts and type(parts[0]) is FrozenBatchNorm2d:
                x = conv_norm(part, parts.pop(0), x)
            else:
                x = part(x)
        return x


def replace_batch_norms(
    network: nn.Module, norm: NormName, *, norm_groups: int = 32, norm_eps: float = 1e-5
) -> None:
    """Replace every batch norm inside a network; names stay, and weights where they mean the same.

    Args:
        network: is changed.
        norm: FrozenBN, SyncBN or GN; "" and BN change nothing.
        norm_groups: groups of GN.
        norm_eps: epsilon of GN; the others keep that of the norm they replace.

    Raises:
        ConfigError: if the groups do not divide the channels of a norm.
    """
    if norm in ("", "BN"):
        return
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, _replacement(child, norm, norm_groups, norm_eps))
    if norm == "FrozenBN":
        _fold_chains(network)


def _replacement(old: nn.BatchNorm2d, norm: NormName, groups: int, eps: float) -> nn.Module:
    channels = old.num_features
    activation = getattr(old, "act", None)
    if isinstance(activation, nn.Identity):
        activation = None
    new: nn.Module
    if norm == "FrozenBN":
        new = (_ActivatedFrozenBatchNorm2d if activation else FrozenBatchNorm2d)(
            channels, eps=old.eps
        )
    elif norm == "SyncBN":
        new = (_ActivatedSyncBatchNorm if activation else nn.SyncBatchNorm)(
            channels, eps=old.eps, momentum=old.momentum or 0.1
        )
    else:
        make_norm(
            "GN", channels, num_groups=groups, eps=eps
        )  # says what to do if it cannot be split
        new = (_ActivatedGroupNorm if activation else nn.GroupNorm)(groups, channels, eps=eps)
    if norm != "GN":
        new.load_state_dict(
            {name: value for name, value in old.state_dict().items() if name in new.state_dict()},
            strict=False,
        )
    if activation is not None:
        new.act = activation
    if old.running_mean is not None:
        new.to(old.running_mean)
    return new


def _fold_chains(network: nn.Module) -> None:
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child).forward is nn.Sequential.forward and _has_pair(child):
                parts: OrderedDict[str, nn.Module] = OrderedDict(child.named_children())
                setattr(parent, name, _ConvNormSequential(parts))


def _has_pair(chain: nn.Module) -> bool:
    parts = list(chain.children())
    return any(
        isinstance(first, nn.Conv2d) and type(second) is FrozenBatchNorm2d
        for first, second in pairwise(parts)
    )


def replace_input_channels(network: nn.Module, in_channels: int) -> None:
    """Make the first convolution over 3 colours one over `in_channels`, newly initialised."""
    if in_channels == 3:
        return
    for parent in network.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d) and child.in_channels == 3 and child.groups == 1:
                conv = nn.Conv2d(
                    in_channels,
                    child.out_channels,
                    child.kernel_size,  # type: ignore[arg-type]
                    stride=child.stride,  # type: ignore[arg-type]
                    padding=child.padding,  # type: ignore[arg-type]
                    dilation=child.dilation,  # type: ignore[arg-type]
                    bias=child.bias is not None,
                )
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
                if conv.bias is not None:
                    with torch.no_grad():
                        conv.bias.zero_()
                setattr(parent, name, conv)
                return
