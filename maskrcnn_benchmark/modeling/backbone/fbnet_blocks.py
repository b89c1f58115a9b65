"""Blocks of FBNet (arXiv:1812.03443, figure 3): inverted residuals with depthwise convolutions, and their kin.

B: images or regions.    C: channels.    H, W: height and width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.norms import conv_norm
from maskrcnn_benchmark.layers.row_norm import TakesRows, norm_rows, run_rows
from maskrcnn_benchmark.modeling.backbone.fbnet_archs import BlockSpec
from maskrcnn_benchmark.modeling.backbone.resnet_blocks import NormFactory
from maskrcnn_benchmark.modeling.make_layers import initialise


class Op(NamedTuple):
    """What the name of an inverted residual stands for.

    Attributes:
        kernel: side of the depthwise convolution; 1 for none.
        expansion: instead of the table's, unless it is None.
        groups: of both 1x1 convolutions, with a channel shuffle behind the first.
        se: squeeze and excitation (arXiv:1709.01507) at the end.
        double: two depthwise convolutions instead of one.
    """

    kernel: int
    expansion: float | None = None
    groups: int = 1
    se: bool = False
    double: bool = False


def _searched_ops() -> dict[str, Op]:
    """The operators of the search space: kernel 3 or 5, with expansion 1, 3, 6 or in groups, each also with se."""
    shapes = {"e1": (1, 1), "e3": (3, 1), "e6": (6, 1), "s4": (4, 4), "s2": (1, 2)}
    return {
        f"ir_k{kernel}_{name}{'_se' if se else ''}": Op(kernel, expansion, groups, se)
        for kernel in (3, 5)
        for name, (expansion, groups) in shapes.items()
        for se in (False, True)
    }


OPS: dict[str, Op] = {
    **{f"ir_k{kernel}": Op(kernel) for kernel in (1, 3, 5, 7)},
    "shuffle": Op(3, groups=4),
    **_searched_ops(),
    **{f"ir_k{kernel}_sep": Op(kernel, double=True) for kernel in (3, 7)},
    **{f"ir_k33_e{t}": Op(3, t, double=True) for t in (1, 3, 6)},
    **{f"ir_k7_e{t}": Op(7, t) for t in (1, 3, 6)},
    **{f"ir_k7_sep_e{t}": Op(7, t, double=True) for t in (1, 3, 6)},
}


def _batch_norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels)


@dataclass(frozen=True, kw_only=True)
class FBNetStyle:
    """What all blocks of a network have in common.

    Attributes:
        scale: all widths of the table are multiplied by it.
        divisor: widths are rounded to a multiple of it.
        norm: makes the norm for so many channels.
        depthwise_norm: whether depthwise convolutions have a norm.
        depthwise_relu: whether they have a ReLU.
    """

    scale: float = 1.0
    divisor: int = 1
    norm: NormFactory = _batch_norm
    depthwise_norm: bool = False
    depthwise_relu: bool = False

    def width(self, channels: float, *, scaled: bool = True) -> int:
        """Channels of a layer; `scaled` False where they follow from others that are scaled already.

        A width that rounds to 0 becomes the divisor squared, as in the old project, whose checkpoints have it so.
        """
        width, divisor = int(channels * (self.scale if scaled else 1.0)), self.divisor
        if width % divisor == 0 and width:
            return width
        return (int(width / divisor + 0.5) or divisor) * divisor


# Full widths, trained batch norms except after depthwise convolutions: that of the published models.
DEFAULT_STYLE = FBNetStyle()


class ConvNorm(TakesRows):
    """Convolution `conv`, norm `bn` if there is one, ReLU if asked for."""

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        kernel: int,
        norm: NormFactory | None,
        stride: int = 1,
        groups: int = 1,
        relu: bool = True,
    ) -> None:
        """Build; padded so that stride 1 keeps the size."""
        super().__init__()
        if in_channels % groups or out_channels % groups:
            raise ConfigError(
                f"FBNet: {in_channels} and {out_channels} channels cannot be split into {groups} groups. "
                "Set MODEL.FBNET.WIDTH_DIVISOR to a multiple of it."
            )
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=groups,
            bias=False,
        )
        initialise(self.conv, "msra")
        self.bn: nn.Module | None = None if norm is None else norm(out_channels)
        self.relu = relu

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / stride, W / stride); batch norms count the `valid` rows (B,)."""
        if self.bn is None:
            x = self.conv(x)
        elif valid is None:
            x = conv_norm(self.conv, self.bn, x)
        else:
            x = norm_rows(self.bn, self.conv(x), valid)
        return F.relu_(x) if self.relu else x


class SqueezeExcite(nn.Module):
    """Scales each channel by what the mean of all says (arXiv:1709.01507)."""

    def __init__(self, channels: int) -> None:
        """Build, with a quarter of the channels in between, 8 at least."""
        super().__init__()
        between = max(channels // 4, 8)
        self.op = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, between, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(between, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        result: Tensor = x * self.op(x)
        return result


def shuffle_channels(x: Tensor, groups: int) -> Tensor:
    """Deal the channels out so that each of `groups` gets some of every group (ShuffleNet, arXiv:1707.01083)."""
    result: Tensor = x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)
    return result


class InvertedResidual(TakesRows):
    """1x1 that expands, depthwise convolution, 1x1 that projects, and a shortcut."""

    def __init__(self, *, in_channels: int, spec: BlockSpec, style: FBNetStyle) -> None:
        """Build the block of `spec`, whose operator is one of OPS."""
        super().__init__()
        op = OPS[spec.op]
        expansion = spec.expansion if op.expansion is None else op.expansion
        mid = style.width(in_channels * expansion, scaled=False)
        self.out_channels = style.width(spec.channels)
        self.groups = op.groups
        self.upsampling = max(-spec.stride, 1)
        self.is_residual = spec.stride == 1 and in_channels == self.out_channels
        if op.kernel == 1 and spec.stride > 1:
            raise ConfigError(
                f"FBNet: block {spec.name}: {spec.op} has no depthwise convolution, so it cannot have the stride "
                f"{spec.stride}. Use 1, or another operator."
            )
        self.pw = ConvNorm(
            in_channels=in_channels, out_channels=mid, kernel=1, norm=style.norm, groups=op.groups
        )
        self.dw = _make_depthwise(mid, op, max(spec.stride, 1), style)
        self.pwl = ConvNorm(
            in_channels=mid,
            out_channels=self.out_channels,
            kernel=1,
            norm=style.norm,
            groups=op.groups,
            relu=False,
        )
        self.se4 = SqueezeExcite(self.out_channels) if op.se else None

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / stride, W / stride); batch norms count the `valid` rows (B,)."""
        y: Tensor = self.pw(x, valid)
        if self.groups > 1:
            y = shuffle_channels(y, self.groups)
        if self.upsampling > 1:
            y = F.interpolate(y, scale_factor=self.upsampling, mode="nearest")
        if self.dw is not None:
            y = run_rows(self.dw, y, valid)
        y = self.pwl(y, valid)
        if self.is_residual:
            y = y + x
        return y if self.se4 is None else self.se4(y)


def _make_depthwise(
    channels: int, op: Op, stride: int, style: FBNetStyle
) -> ConvNorm | nn.Sequential | None:
    if op.kernel == 1:
        return None
    depthwise = partial(
        ConvNorm, in_channels=channels, out_channels=channels, kernel=op.kernel, groups=channels
    )
    norm = style.norm if style.depthwise_norm else None
    if not op.double:
        return depthwise(stride=stride, norm=norm, relu=style.depthwise_relu)
    return nn.Sequential(
        OrderedDict(
            dw1=depthwise(stride=stride, norm=style.norm),
            dw2=depthwise(norm=norm, relu=style.depthwise_relu),
        )
    )


class SkipBlock(TakesRows):
    """The identity, or a 1x1 convolution where channels or stride change."""

    def __init__(self, *, in_channels: int, spec: BlockSpec, style: FBNetStyle) -> None:
        """Build the block of `spec`."""
        super().__init__()
        self.out_channels = style.width(spec.channels)
        self.conv: ConvNorm | None = None
        if in_channels != self.out_channels or spec.stride != 1:
            self.conv = ConvNorm(
                in_channels=in_channels,
                out_channels=self.out_channels,
                kernel=1,
                stride=spec.stride,
                norm=style.norm,
            )

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / stride, W / stride); batch norms count the `valid` rows (B,)."""
        return x if self.conv is None else self.conv(x, valid)


class BasicBlock(TakesRows):
    """Two 3x3 convolutions, and a shortcut where the shape stays."""

    def __init__(self, *, in_channels: int, spec: BlockSpec, style: FBNetStyle) -> None:
        """Build the block of `spec`."""
        super().__init__()
        self.out_channels = style.width(spec.channels)
        conv = partial(ConvNorm, out_channels=self.out_channels, kernel=3, norm=style.norm)
        self.conv1 = conv(in_channels=in_channels, stride=spec.stride)
        self.conv2 = conv(in_channels=self.out_channels, relu=False)
        self.is_residual = spec.stride == 1 and in_channels == self.out_channels

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / stride, W / stride); batch norms count the `valid` rows (B,)."""
        y: Tensor = self.conv2(self.conv1(x, valid), valid)
        return y + x if self.is_residual else y


Block = InvertedResidual | SkipBlock | BasicBlock


def make_block(*, in_channels: int, spec: BlockSpec, style: FBNetStyle) -> Block:
    """The block of one entry of a table.

    Raises:
        ConfigError: for an operator that does not exist, or cannot have the stride.
    """
    if spec.op in OPS:
        return InvertedResidual(in_channels=in_channels, spec=spec, style=style)
    plain: dict[str, type[SkipBlock | BasicBlock]] = {"skip": SkipBlock, "basic_block": BasicBlock}
    if spec.op not in plain:
        unsupported = (
            "is not supported; the old project could not build it either"
            if spec.op == "shift_5x5"
            else "does not exist"
        )
        raise ConfigError(
            f"FBNet: block {spec.name}: the operator {spec.op!r} {unsupported}. "
            f"Use one of {', '.join((*OPS, *plain))}."
        )
    if spec.stride < 0:
        raise ConfigError(
            f"FBNet: block {spec.name}: {spec.op} cannot have the stride {spec.stride} (upsampling). "
            "Use an inverted residual (ir_k3, ...)."
        )
    return plain[spec.op](in_channels=in_channels, spec=spec, style=style)


def make_blocks(
    specs: Sequence[BlockSpec], *, in_channels: int, style: FBNetStyle
) -> tuple[nn.Sequential, int]:
    """The blocks in a row, under their names, and the channels that leave."""
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    for spec in specs:
        block = make_block(in_channels=in_channels, spec=spec, style=style)
        blocks[spec.name] = block
        in_channels = block.out_channels
    return nn.Sequential(blocks), in_channels
