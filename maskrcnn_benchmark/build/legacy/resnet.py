"""The old face of the ResNet's parts: `modeling.backbone.resnet.ResNetHead` and the blocks by the norms in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from maskrcnn_benchmark.build.legacy.layers import group_norm
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.norms import FrozenBatchNorm2d
from maskrcnn_benchmark.modeling.backbone.resnet import (
    RESNET_BLOCKS,
    Bottleneck,
    Deformable,
    NormFactory,
    ResNetStages,
    Stem,
)

BaseStem = Stem


@dataclass(frozen=True)
class StageSpec:
    """A stage of a ResNet.

    Attributes:
        index: 1 to 4.
        block_count: blocks in it.
        return_features: whether its map is asked for.
    """

    index: int
    block_count: int
    return_features: bool


def _make_frozen_norm(channels: int) -> nn.Module:
    return FrozenBatchNorm2d(channels)


def _make_group_norm(channels: int) -> nn.Module:
    return group_norm(channels)


class StemWithFixedBatchNorm(Stem):
    """The stem with a frozen norm."""

    def __init__(self, cfg: Config) -> None:
        """Build with MODEL.RESNETS.STEM_OUT_CHANNELS."""
        super().__init__(
            in_channels=cfg.INPUT.CHANNELS,
            out_channels=cfg.MODEL.RESNETS.STEM_OUT_CHANNELS,
            norm=_make_frozen_norm,
        )


class StemWithGN(Stem):
    """The stem with a group norm."""

    def __init__(self, cfg: Config) -> None:
        """Build with MODEL.RESNETS.STEM_OUT_CHANNELS."""
        super().__init__(
            in_channels=cfg.INPUT.CHANNELS,
            out_channels=cfg.MODEL.RESNETS.STEM_OUT_CHANNELS,
            norm=_make_group_norm,
        )


class _OldBottleneck(Bottleneck):
    """A bottleneck whose class says which norm it has."""

    norm_factory: ClassVar[NormFactory]

    def __init__(
        self,
        in_channels: int,
        bottleneck_channels: int,
        out_channels: int,
        num_groups: int = 1,
        stride_in_1x1: bool = True,
        stride: int = 1,
        dilation: int = 1,
        dcn_config: Mapping[str, Any] | None = None,
    ) -> None:
        """Build; arguments as in `Bottleneck`, `dcn_config` as in `ResNetHead`."""
        super().__init__(
            in_channels=in_channels,
            mid_channels=bottleneck_channels,
            out_channels=out_channels,
            stride=stride,
            groups=num_groups,
            dilation=dilation,
            stride_in_1x1=stride_in_1x1,
            norm=type(self).norm_factory,
            deformable=_deformable(dcn_config),
        )


class BottleneckWithFixedBatchNorm(_OldBottleneck):
    """A bottleneck with frozen norms."""

    norm_factory = staticmethod(_make_frozen_norm)


class BottleneckWithGN(_OldBottleneck):
    """A bottleneck with the group norm of the global config."""

    norm_factory = staticmethod(_make_group_norm)


class ResNetHead(ResNetStages):
    """Stages of a ResNet on regions; `forward` gives the map of the last one.

    Attributes:
        out_channels: of that map.
    """

    def __init__(
        self,
        block_module: str,
        stages: Sequence[StageSpec],
        num_groups: int = 1,
        width_per_group: int = 64,
        stride_in_1x1: bool = True,
        stride_init: int | None = None,
        res2_out_channels: int = 256,
        dilation: int = 1,
        dcn_config: Mapping[str, Any] | None = None,
    ) -> None:
        """Build the stages.

        Args:
            block_module: "BottleneckWithFixedBatchNorm" or "BottleneckWithGN" (MODEL.RESNETS.TRANS_FUNC).
            stages: which ones.
            num_groups: groups of the 3x3 convolutions.
            width_per_group: channels per group inside a bottleneck of stage 1.
            stride_in_1x1: whether the stride sits in the first 1x1 convolution.
            stride_init: stride of the first stage, if not its own.
            res2_out_channels: channels that leave stage 1.
            dilation: of the 3x3 convolutions.
            dcn_config: `stage_with_dcn`, `with_modulated_dcn`, `deformable_groups`; empty for plain convolutions.

        Raises:
            ConfigError: for another block, or numbers of blocks that no ResNet-50, -101 or -152 has.
        """
        first = 2 ** (stages[0].index - 1)
        deformable = _deformable(dcn_config)
        super().__init__(
            stages=[stage.index for stage in stages],
            depth=_depth(stages),
            in_channels=res2_out_channels * first // 2,
            width=width_per_group,
            groups=num_groups,
            out_channels=res2_out_channels,
            stride_in_1x1=stride_in_1x1,
            first_stride=stride_init,
            dilation=dilation,
            with_dcn=(deformable is not None,) * 4,
            modulated=deformable is None or deformable.modulated,
            deformable_groups=1 if deformable is None else deformable.groups,
            **_norm_arguments(block_module, res2_out_channels),
        )
        channels = self.out_channels[stages[-1].index]
        self.out_channels = channels  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(n, C, S, S) -> (n, out_channels, S', S')."""
        return super().forward(x)[-1]


def _norm_arguments(block_module: str, channels: int) -> dict[str, Any]:
    if block_module == "BottleneckWithFixedBatchNorm":
        return {"norm": "FrozenBN"}
    if block_module == "BottleneckWithGN":
        norm = group_norm(channels)
        return {"norm": "GN", "norm_groups": norm.num_groups, "norm_eps": norm.eps}
    raise ConfigError(
        f"block_module: expected 'BottleneckWithFixedBatchNorm' or 'BottleneckWithGN', got {block_module!r}."
    )


def _deformable(dcn_config: Mapping[str, Any] | None) -> Deformable | None:
    if not dcn_config or not dcn_config.get("stage_with_dcn", False):
        return None
    return Deformable(
        modulated=dcn_config.get("with_modulated_dcn", False),
        groups=dcn_config.get("deformable_groups", 1),
    )


def _depth(stages: Sequence[StageSpec]) -> int:
    """The depth of a bottleneck network whose stages have so many blocks."""
    for depth, (kind, counts) in RESNET_BLOCKS.items():
        if kind == "bottleneck" and all(counts[s.index - 1] == s.block_count for s in stages):
            return depth
    raise ConfigError(
        f"stages: no ResNet-50, -101 or -152 has the numbers of blocks in {tuple(stages)}."
    )
