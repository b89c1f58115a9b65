"""Deformable convolution (arXiv:1703.06211) and its modulated form (arXiv:1811.11168).

On torchvision's operator, in float32. Offsets come before the mask, and for each kernel point as (dy, dx).

B: images.    C: channels.    H, W: height and width.    T: points of the kernel.    G: groups of offsets.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair
from torchvision.ops import deform_conv2d

from maskrcnn_benchmark.errors import ShapeError

IntPair = int | tuple[int, int]


def deform_conv(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: IntPair = 1,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    deformable_groups: int = 1,
    im2col_step: int = 64,
) -> Tensor:
    """Convolve at points that are moved by offsets.

    Args:
        input: (B, C, H, W).
        offset: (B, 2GT, H', W') cells, (dy, dx) for each kernel point, row by row.
        weight: (C', C / groups, kh, kw).
        stride: of the output.
        padding: zeros around the input.
        dilation: cells between kernel points.
        groups: of the convolution.
        deformable_groups: G; each has offsets of its own for C / G of the input's channels.
        im2col_step: images at a time in the old kernel; the operator chooses for itself, batches of any size work.

    Returns:
        (B, C', H', W') in the input's type; the sums are float32.

    Raises:
        ShapeError: if channels, groups and offsets do not fit.
    """
    return _convolve(
        input, offset, None, weight, None, stride, padding, dilation, groups, deformable_groups
    )


def modulated_deform_conv(
    input: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntPair = 1,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    deformable_groups: int = 1,
) -> Tensor:
    """As `deform_conv`, with a factor (B, GT, H', W') for each sample in `mask`, and a bias (C',)."""
    return _convolve(
        input, offset, mask, weight, bias, stride, padding, dilation, groups, deformable_groups
    )


def _convolve(
    x: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    stride: IntPair,
    padding: IntPair,
    dilation: IntPair,
    groups: int,
    deformable_groups: int,
) -> Tensor:
    points = weight.shape[2] * weight.shape[3]
    if x.shape[1] != weight.shape[1] * groups or x.shape[1] % deformable_groups:
        raise ShapeError(
            f"deformable convolution: {x.shape[1]} input channels do not fit a weight of shape "
            f"{tuple(weight.shape)} in {groups} groups, with {deformable_groups} groups of offsets."
        )
    for name, value, expected in (
        ("offset", offset, 2 * points * deformable_groups),
        ("mask", mask, points * deformable_groups),
    ):
        if value is not None and value.shape[1] != expected:
            raise ShapeError(
                f"deformable convolution: expected {expected} channels in {name} for {deformable_groups} groups of "
                f"{points} kernel points, got {value.shape[1]}."
            )
    with torch.autocast(x.device.type, enabled=False):
        result: Tensor = deform_conv2d(
            x.float(),
            offset.float(),
            weight.float(),
            None if bias is None else bias.float(),
            stride=_pair(stride),
            padding=_pair(padding),
            dilation=_pair(dilation),
            mask=None if mask is None else mask.float(),
        )
    return result.to(x.dtype)


class _DeformableLayer(nn.Module):
    """Weights and numbers that the layers below have in common; arguments as those of `nn.Conv2d`."""

    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair = 0,
        dilation: IntPair = 1,
        groups: int = 1,
        deformable_groups: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ShapeError(
                    f"deformable convolution: {name} {channels} cannot be split into {groups} groups."
                )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size: tuple[int, int] = _pair(kernel_size)
        self.stride: tuple[int, int] = _pair(stride)
        self.padding: tuple[int, int] = _pair(padding)
        self.dilation: tuple[int, int] = _pair(dilation)
        self.groups = groups
        self.deformable_groups = deformable_groups
        self.weight = nn.Parameter(
            torch.empty(out_channels, in_channels // groups, *self.kernel_size)
        )
        if bias:
            self.bias = nn.Parameter(torch.zeros(out_channels))
        else:
            self.register_parameter("bias", None)
        bound = 1 / math.sqrt(in_channels * math.prod(self.kernel_size))
        nn.init.uniform_(self.weight, -bound, bound)

    def extra_repr(self) -> str:
        """Show the numbers."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, "
            f"deformable_groups={self.deformable_groups}, bias={self.bias is not None}"
        )


class DeformConv(_DeformableLayer):
    """Deformable convolution, version 1; it has no bias."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair = 0,
        dilation: IntPair = 1,
        groups: int = 1,
        deformable_groups: int = 1,
        bias: bool = False,
    ) -> None:
        """Build; arguments as those of `nn.Conv2d`, and `deformable_groups` of offsets.

        Raises:
            ValueError: if a bias is asked for.
        """
        if bias:
            raise ValueError("DeformConv has no bias: expected bias=False, got True.")
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            deformable_groups,
        )

    def forward(self, input: Tensor, offset: Tensor) -> Tensor:
        """(B, C, H, W) and offsets (B, 2GT, H', W') -> (B, C', H', W')."""
        return deform_conv(
            input,
            offset,
            self.weight,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.deformable_groups,
        )


class ModulatedDeformConv(_DeformableLayer):
    """Deformable convolution, version 2: each sample has a factor."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair = 0,
        dilation: IntPair = 1,
        groups: int = 1,
        deformable_groups: int = 1,
        bias: bool = True,
    ) -> None:
        """Build; arguments as those of `nn.Conv2d`, and `deformable_groups` of offsets and masks."""
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            deformable_groups,
            bias,
        )

    def forward(self, input: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """(B, C, H, W), offsets (B, 2GT, H', W'), factors (B, GT, H', W') -> (B, C', H', W')."""
        return modulated_deform_conv(
            input,
            offset,
            mask,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.deformable_groups,
        )


class ModulatedDeformConvPack(ModulatedDeformConv):
    """`ModulatedDeformConv` that finds offsets and factors itself, with a convolution that starts at zero."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair = 0,
        dilation: IntPair = 1,
        groups: int = 1,
        deformable_groups: int = 1,
        bias: bool = True,
    ) -> None:
        """Build; arguments as those of `ModulatedDeformConv`."""
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            deformable_groups,
            bias,
        )
        self.conv_offset_mask = nn.Conv2d(
            in_channels,
            3 * deformable_groups * math.prod(self.kernel_size),
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )
        nn.init.zeros_(self.conv_offset_mask.weight)
        assert self.conv_offset_mask.bias is not None
        nn.init.zeros_(self.conv_offset_mask.bias)

    def forward(self, input: Tensor) -> Tensor:  # type: ignore[override]
        """(B, C, H, W) -> (B, C', H', W')."""
        first, second, mask = self.conv_offset_mask(input).chunk(3, dim=1)
        return super().forward(input, torch.cat((first, second), dim=1), mask.sigmoid())


class DFConv2d(nn.Module):
    """Deformable convolution that finds its offsets with an ordinary one; in place of the 3x3 of a bottleneck.

    Offsets do not start at zero, as those of the old project. There the first 18 channels were the offsets whatever the
    kernel and the number of groups; here they are the first two thirds, which is the same for 3x3 and one group.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        with_modulated_dcn: bool = True,
        kernel_size: IntPair = 3,
        stride: IntPair = 1,
        groups: int = 1,
        dilation: IntPair = 1,
        deformable_groups: int = 1,
        bias: bool = False,
    ) -> None:
        """Build; padded so that stride 1 keeps the size.

        Args:
            in_channels: C.
            out_channels: C'.
            with_modulated_dcn: version 2, with a factor for each sample.
            kernel_size: odd.
            stride: of the output.
            groups: of the deformable convolution.
            dilation: cells between kernel points.
            deformable_groups: G.
            bias: of the deformable convolution (version 2 only).
        """
        super().__init__()
        kernel, spacing = _pair(kernel_size), _pair(dilation)
        padding = (spacing[0] * (kernel[0] - 1) // 2, spacing[1] * (kernel[1] - 1) // 2)
        self.with_modulated_dcn = with_modulated_dcn
        channels = (3 if with_modulated_dcn else 2) * math.prod(kernel) * deformable_groups
        self.offset = nn.Conv2d(
            in_channels, channels, kernel, stride=stride, padding=padding, dilation=spacing
        )
        nn.init.kaiming_uniform_(self.offset.weight, a=1)
        assert self.offset.bias is not None
        nn.init.zeros_(self.offset.bias)
        kind = ModulatedDeformConv if with_modulated_dcn else DeformConv
        self.conv = kind(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=padding,
            dilation=spacing,
            groups=groups,
            deformable_groups=deformable_groups,
            bias=bias,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        offset: Tensor = self.offset(x)
        if not self.with_modulated_dcn:
            result: Tensor = self.conv(x, offset)
            return result
        split = offset.shape[1] // 3 * 2
        result = self.conv(x, offset[:, :split], offset[:, split:].sigmoid())
        return result
