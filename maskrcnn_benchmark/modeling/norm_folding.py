"""Frozen norms folded into the convolutions before them, once, for inference.

A frozen norm is y = x * scale + shift. Behind a convolution without a bias it becomes part of its weights; the norm is
gone. `layers.norms.conv_norm` does the same in every forward pass, so that weights can train and be saved as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn

from maskrcnn_benchmark.layers.norms import FrozenBatchNorm2d

Network = TypeVar("Network", bound=nn.Module)

# What a norm is called whose convolution is `conv` + the same ending: conv1 and bn1, say.
_NORM_NAMES = ("bn", "norm")


def fold_frozen_norms(network: Network) -> Network:
    """Fold every frozen norm whose convolution is known into it.

    Known are the pairs that are called so (`conv1` and `bn1`, `conv` and `bn`), and neighbours in a chain. Other norms,
    those behind deformable convolutions for example, stay as they are. Results are the same, bit for bit where
    `conv_norm` did it at run time; networks of torchvision and timm differ in the last bits.

    Args:
        network: is changed: weights of folded convolutions no longer fit checkpoints.

    Returns:
        The same network.
    """
    for parent in list(network.modules()):
        for conv_name, norm_name in _pairs(parent):
            conv, norm = getattr(parent, conv_name), getattr(parent, norm_name)
            if _can_fold(conv, norm):
                setattr(parent, conv_name, _fold(conv, norm))
                # What timm keeps inside its norms stays.
                setattr(parent, norm_name, getattr(norm, "act", None) or nn.Identity())
    return network


def _pairs(parent: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of the children that may be a convolution and its norm."""
    if isinstance(parent, nn.Sequential):
        yield from pairwise(list(parent._modules))
        return
    names = list(parent._modules)
    for position, name in enumerate(names):
        if name.startswith("conv"):
            # Only what comes later: the norm1 of a DenseNet is in front of its conv1.
            later = names[position + 1 :]
            yield from ((name, norm + name[4:]) for norm in _NORM_NAMES if norm + name[4:] in later)


def _can_fold(conv: nn.Module | None, norm: nn.Module | None) -> bool:
    return (
        type(conv) is nn.Conv2d
        and conv.bias is None
        and isinstance(norm, FrozenBatchNorm2d)
        and norm.weight.numel() == conv.out_channels
    )


@torch.no_grad()
def _fold(conv: nn.Conv2d, norm: FrozenBatchNorm2d) -> nn.Conv2d:
    scale, shift = norm.scale_and_shift()
    # Not changed in place: the same convolution may be part of another network.
    folded = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        stride=conv.stride,  # type: ignore[arg-type]
        padding=conv.padding,  # type: ignore[arg-type]
        dilation=conv.dilation,  # type: ignore[arg-type]
        groups=conv.groups,
        device="meta",
        padding_mode=conv.padding_mode,
    )
    folded.weight = nn.Parameter(conv.weight * scale[:, None, None, None], requires_grad=False)
    folded.bias = nn.Parameter(shift.clone(), requires_grad=False)
    return folded.train(conv.training)
