"""ResNet (He et al., 2015, arXiv:1512.03385), ResNeXt by groups (arXiv:1611.05431), as Detectron used it.

- MSRA weights: the stride of a bottleneck sits in its first 1x1 convolution (`stride_in_1x1`).
- Frozen norms are folded into the convolutions at run time (`layers.norms.conv_norm`).
- Deformable convolution (`layers.deform_conv`) in the 3x3 of the stages asked for.
- Parameter names are those of the old project: `stem.conv1`, `layer1.0.downsample.0`, `layer2.0.conv2.offset`, ...

B: images.    C: channels.    H, W: height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from torch import Tensor, nn

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.norms import NormName, make_norm
from maskrcnn_benchmark.layers.row_norm import run_rows
from maskrcnn_benchmark.modeling.backbone.resnet_blocks import (
    BasicBlock,
    Bottleneck,
    Deformable,
    NormFactory,
    Stem,
)
from maskrcnn_benchmark.utils.old_calls import also_called
from maskrcnn_benchmark.utils.old_names import old_names

__all__ = [
    "RESNET_BLOCKS",
    "BasicBlock",
    "Bottleneck",
    "Deformable",
    "NormFactory",
    "ResNet",
    "ResNetStages",
    "Stem",
]

# Old names, which live elsewhere now.
__getattr__ = old_names(
    __name__,
    {
        "BaseStem": "maskrcnn_benchmark.build.legacy.resnet",
        "BottleneckWithFixedBatchNorm": "maskrcnn_benchmark.build.legacy.resnet",
        "BottleneckWithGN": "maskrcnn_benchmark.build.legacy.resnet",
        "ResNetHead": "maskrcnn_benchmark.build.legacy.resnet",
        "StageSpec": "maskrcnn_benchmark.build.legacy.resnet",
        "StemWithFixedBatchNorm": "maskrcnn_benchmark.build.legacy.resnet",
        "StemWithGN": "maskrcnn_benchmark.build.legacy.resnet",
    },
)

BlockName = Literal["basic", "bottleneck"]

# Blocks in stages 1..4, and the kind of block (He et al., table 1).
RESNET_BLOCKS: dict[int, tuple[BlockName, tuple[int, int, int, int]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}

_BLOCKS: dict[BlockName, type[BasicBlock | Bottleneck]] = {
    "basic": BasicBlock,
    "bottleneck": Bottleneck,
}


class ResNetStages(nn.Module):
    """Some of the stages `layer1` .. `layer4`; the C4 heads use the last one on regions."""

    def __init__(
        self,
        *,
        stages: Sequence[int],
        depth: int = 50,
        in_channels: int = 64,
        width: int = 64,
        groups: int = 1,
        out_channels: int = 256,
        stride_in_1x1: bool = True,
        norm: NormName = "FrozenBN",
        norm_groups: int = 32,
        norm_eps: float = 1e-5,
        first_stride: int | None = None,
        dilation: int = 1,
        return_stages: Sequence[int] | None = None,
        with_dcn: Sequence[bool] = (False, False, False, False),
        modulated: bool = True,
        deformable_groups: int = 1,
    ) -> None:
        """Build the stages.

        Args:
            stages: consecutive stage numbers, 1 to 4.
            depth: 18, 34, 50, 101 or 152.
            in_channels: channels that enter the first of the stages.
            width: channels per group inside a bottleneck of stage 1; doubles with each stage. For the basic
                blocks of depth 18 and 34 it is the number of channels that leave stage 1.
            groups: groups of the 3x3 convolution (ResNeXt).
            out_channels: channels that leave stage 1 of a bottleneck network; doubles with each stage.
            stride_in_1x1: True for MSRA weights, False for torchvision's, ResNeXt's and GN's.
            norm: FrozenBN, BN, GN, SyncBN.
            norm_groups: groups of GN.
            norm_eps: epsilon of GN.
            first_stride: stride of the first stage, if not its own (1 for stage 1, else 2).
            dilation: of the 3x3 convolutions; more than 1 means stride 1.
            return_stages: whose maps `forward` returns; all by default.
            with_dcn: for stages 1 to 4, whether the 3x3 of every block (the second one of a basic block) is deformable.
            modulated: deformable convolution version 2.
            deformable_groups: sets of offsets of each.
        """
        super().__init__()
        if len(with_dcn) != 4:
            raise ConfigError(
                f"with_dcn (MODEL.RESNETS.STAGE_WITH_DCN): expected one flag for each of 4 stages, got {with_dcn}."
            )
        if depth not in RESNET_BLOCKS:
            raise ConfigError(f"ResNet depth: expected one of {list(RESNET_BLOCKS)}, got {depth}.")
        kind, counts = RESNET_BLOCKS[depth]
        factory = partial(make_norm, norm, num_groups=norm_groups, eps=norm_eps)
        deformable = Deformable(modulated=modulated, groups=deformable_groups)
        base = width * groups if kind == "basic" else out_channels
        self.names: list[str] = []
        self.out_channels: dict[int, int] = {}
        for stage in stages:
            factor = 2 ** (stage - 1)
            stride = 1 if stage == 1 else 2
            if stage == stages[0] and first_stride is not None:
                stride = first_stride
            blocks = []
            for index in range(counts[stage - 1]):
                blocks.append(
                    _BLOCKS[kind](
                        in_channels=in_channels,
                        mid_channels=width * groups * factor,
                        out_channels=base * factor,
                        stride=stride if index == 0 and dilation == 1 else 1,
                        groups=groups,
                        dilation=dilation,
                        stride_in_1x1=stride_in_1x1,
                        norm=factory,
                        deformable=deformable if with_dcn[stage - 1] else None,
                    )
                )
                in_channels = base * factor
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            self.names.append(f"layer{stage}")
            self.out_channels[stage] = in_channels
        wanted = stages if return_stages is None else return_stages
        self._returned = {f"layer{stage}" for stage in wanted}

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) -> the maps of the stages asked for."""
        return self.forward_rows(x, None)

    def forward_rows(self, x: Tensor, valid: Tensor | None) -> list[Tensor]:
        """As `forward`; batch norms count the `valid` rows (B,), see `layers.row_norm`."""
        outputs = []
        for name in self.names:
            x = run_rows(self.get_submodule(name), x, valid)
            if name in self._returned:
                outputs.append(x)
        return outputs


class ResNet(ResNetStages):
    """Stem and stages; `forward` gives the maps of `return_stages`, finest first."""

    @also_called("maskrcnn_benchmark.build.backbones.resnet:body_arguments")
    def __init__(
        self,
        *,
        stages: Sequence[int] = (1, 2, 3, 4),
        depth: int = 50,
        stem_channels: int = 64,
        width: int = 64,
        groups: int = 1,
        out_channels: int = 256,
        stride_in_1x1: bool = True,
        norm: NormName = "FrozenBN",
        stem_norm: NormName = "FrozenBN",
        norm_groups: int = 32,
        norm_eps: float = 1e-5,
        return_stages: Sequence[int] | None = None,
        freeze_at: int = 2,
        in_channels: int = 3,
        with_dcn: Sequence[bool] = (False, False, False, False),
        modulated: bool = True,
        deformable_groups: int = 1,
    ) -> None:
        """Build; arguments beyond those of `ResNetStages`.

        Args:
            stages: as in `ResNetStages`, from 1.
            depth: as there.
            stem_channels: channels of the stem.
            width: as there.
            groups: as there.
            out_channels: as there.
            stride_in_1x1: as there.
            norm: as there.
            stem_norm: the stem's norm.
            norm_groups: as there.
            norm_eps: as there.
            return_stages: as there.
            freeze_at: parameters that never train: 1 the stem, 2 also stage 1, and so on; 0 none.
            in_channels: channels of the image.
            with_dcn: as there.
            modulated: as there.
            deformable_groups: as there.

        Raises:
            ConfigError: for a depth or numbers of stages that do not exist.
        """
        super().__init__(
            stages=stages,
            depth=depth,
            in_channels=stem_channels,
            width=width,
            groups=groups,
            out_channels=out_channels,
            stride_in_1x1=stride_in_1x1,
            norm=norm,
            norm_groups=norm_groups,
            norm_eps=norm_eps,
            return_stages=return_stages,
            with_dcn=with_dcn,
            modulated=modulated,
            deformable_groups=deformable_groups,
        )
        self.stem = Stem(
            in_channels=in_channels,
            out_channels=stem_channels,
            norm=partial(make_norm, stem_norm, num_groups=norm_groups, eps=norm_eps),
        )
        if freeze_at > len(stages) + 1:
            raise ConfigError(
                f"freeze_at (MODEL.BACKBONE.FREEZE_CONV_BODY_AT): expected at most {len(stages) + 1}, the stem and "
                f"{len(stages)} stages, got {freeze_at}; 0 freezes none."
            )
        for index in range(freeze_at):
            part = self.stem if index == 0 else self.get_submodule(f"layer{index}")
            part.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, in_channels, H, W) -> maps (B, C_i, H / s_i, W / s_i)."""
        return super().forward(self.stem(x))
