"""Blocks of a ResNet (arXiv:1512.03385): the stem, the basic block and the bottleneck.

B: images.    C: channels.    H, W: height and width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from maskrcnn_benchmark.layers.deform_conv import DFConv2d
from maskrcnn_benchmark.layers.norms import conv_norm
from maskrcnn_benchmark.layers.row_norm import TakesRows, norm_rows


class NormFactory(Protocol):
    """Makes the norm for so many channels."""

    def __call__(self, channels: int) -> nn.Module:
        """A norm over `channels`."""
        ...


def _conv(
    in_channels: int,
    out_channels: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
) -> nn.Conv2d:
    conv = nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding=dilation * (kernel // 2),
        dilation=dilation,
        groups=groups,
        bias=False,
    )
    # Caffe2's XavierFill, which Detectron used.
    nn.init.kaiming_uniform_(conv.weight, a=1)
    return conv


@dataclass(frozen=True, kw_only=True)
class Deformable:
    """What the 3x3 convolution of a block is when it is deformable.

    Attributes:
        modulated: version 2, with a factor for each sample.
        groups: sets of offsets, each for its share of the channels.
    """

    modulated: bool = True
    groups: int = 1


def _conv3x3(
    in_channels: int,
    out_channels: int,
    *,
    stride: int,
    groups: int,
    dilation: int,
    deformable: Deformable | None,
) -> nn.Conv2d | DFConv2d:
    if deformable is None:
        return _conv(in_channels, out_channels, 3, stride=stride, groups=groups, dilation=dilation)
    return DFConv2d(
        in_channels,
        out_channels,
        with_modulated_dcn=deformable.modulated,
        stride=stride,
        groups=groups,
        dilation=dilation,
        deformable_groups=deformable.groups,
    )


def _norm_after(
    conv: nn.Conv2d | DFConv2d, norm: nn.Module, x: Tensor, valid: Tensor | None
) -> Tensor:
    if valid is None and isinstance(conv, nn.Conv2d):
        return conv_norm(conv, norm, x)
    return norm_rows(norm, conv(x), valid)


class Stem(nn.Module):
    """7x7 convolution with stride 2, norm, ReLU, 3x3 max-pool with stride 2: total stride 4."""

    def __init__(self, *, out_channels: int, norm: NormFactory, in_channels: int = 3) -> None:
        """Build for `in_channels` colours and `out_channels` features."""
        super().__init__()
        self.conv1 = _conv(in_channels, out_channels, 7, stride=2)
        self.bn1 = norm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, C, H / 4, W / 4)."""
        x = F.relu_(conv_norm(self.conv1, self.bn1, x))
        return F.max_pool2d(x, kernel_size=3, stride=2, padding=1)


class _Block(TakesRows):
    """The shortcut that both kinds of block share."""

    downsample: nn.Sequential | None

    def _make_shortcut(
        self, in_channels: int, out_channels: int, stride: int, norm: NormFactory
    ) -> None:
        self.downsample = None
        if in_channels != out_channels or stride != 1:
            self.downsample = nn.Sequential(
                _conv(in_channels, out_channels, 1, stride=stride), norm(out_channels)
            )

    def _shortcut(self, x: Tensor, valid: Tensor | None) -> Tensor:
        if self.downsample is None:
            return x
        conv, norm = self.downsample
        assert isinstance(conv, nn.Conv2d)
        return _norm_after(conv, norm, x, valid)


class BasicBlock(_Block):
    """Two 3x3 convolutions and a shortcut (ResNet-18 and -34)."""

    def __init__(
        self,
        *,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        stride: int,
        groups: int,
        dilation: int,
        stride_in_1x1: bool,
        norm: NormFactory,
        deformable: Deformable | None = None,
    ) -> None:
        """Build; `mid_channels`, `groups` and `stride_in_1x1` have no meaning here."""
        super().__init__()
        self._make_shortcut(in_channels, out_channels, stride, norm)
        self.conv1 = _conv(in_channels, out_channels, 3, stride=stride, dilation=dilation)
        self.bn1 = norm(out_channels)
        self.conv2 = _conv3x3(
            out_channels, out_channels, stride=1, groups=1, dilation=dilation, deformable=deformable
        )
        self.bn2 = norm(out_channels)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / stride, W / stride); batch norms count the `valid` rows (B,)."""
        out = F.relu_(_norm_after(self.conv1, self.bn1, x, valid))
        out = _norm_after(self.conv2, self.bn2, out, valid)
        return F.relu_(out + self._shortcut(x, valid))


class Bottleneck(_Block):
    """1x1, 3x3, 1x1 convolutions and a shortcut (ResNet-50 and deeper)."""

    def __init__(
        self,
        *,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        stride: int,
        groups: int,
        dilation: int,
        stride_in_1x1: bool,
        norm: NormFactory,
        deformable: Deformable | None = None,
    ) -> None:
        """Build; the stride sits in the first 1x1 (MSRA) or in the 3x3 convolution."""
        super().__init__()
        self._make_shortcut(in_channels, out_channels, stride, norm)
        stride_1x1, stride_3x3 = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = _conv(in_channels, mid_channels, 1, stride=stride_1x1)
        self.bn1 = norm(mid_channels)
        self.conv2 = _conv3x3(
            mid_channels,
            mid_channels,
            stride=stride_3x3,
            groups=groups,
            dilation=dilation,
            deformable=deformable,
        )
        self.bn2 = norm(mid_channels)
        self.conv3 = _conv(mid_channels, out_channels, 1)
        self.bn3 = norm(out_channels)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / stride, W / stride); batch norms count the `valid` rows (B,)."""
        out = F.relu_(_norm_after(self.conv1, self.bn1, x, valid))
        out = F.relu_(_norm_after(self.conv2, self.bn2, out, valid))
        out = _norm_after(self.conv3, self.bn3, out, valid)
        return F.relu_(out.add_(self._shortcut(x, valid)))
