"""Feature pyramid network (Lin et al., 2016, arXiv:1612.03144).

B: images.    L: levels of the body.    Names `fpn_inner{i}`, `fpn_layer{i}` count from 1 for C2, as in the old project.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from maskrcnn_benchmark.layers.norms import NormName
from maskrcnn_benchmark.modeling.make_layers import initialise, make_conv


class OwnedMaps(list[Tensor]):
    """Maps of a body that nobody else holds: the pyramid takes each one out, and its memory is free early.

    The finest maps are a third of what a picture of 800 x 1216 pixels takes at its peak.
    """


class LastLevelMaxPool(nn.Module):
    """P6 as every second cell of P5 (Detectron)."""

    def forward(self, coarsest: Tensor, body_map: Tensor | None = None) -> list[Tensor]:
        """(B, C, H, W) -> one map (B, C, H / 2, W / 2); the body's map is not used."""
        if torch.compiler.is_compiling() and not torch.onnx.is_in_onnx_export():
            # Pooling, or a view with steps, ties a graph of torch 2.11 to odd or to even sizes.
            for dim in (2, 3):
                every_second = torch.arange(0, coarsest.shape[dim], 2, device=coarsest.device)
                coarsest = coarsest.index_select(dim, every_second)
            return [coarsest]
        return [F.max_pool2d(coarsest, kernel_size=1, stride=2)]


class LastLevelP6P7(nn.Module):
    """P6 and P7 of RetinaNet (arXiv:1708.02002, section 4): 3x3 convolutions of stride 2, the second after a ReLU."""

    def __init__(self, *, in_channels: int, out_channels: int = 256, use_c5: bool = True) -> None:
        """Build the two convolutions `p6` and `p7`.

        Args:
            in_channels: of the map that P6 is computed from: the body's last one (C5), or P5.
            out_channels: of P6 and P7.
            use_c5: compute P6 from C5 rather than from P5.
        """
        super().__init__()
        self.p6 = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(out_channels, out_channels, 3, stride=2, padding=1)
        for layer in (self.p6, self.p7):
            initialise(layer, "xavier")
        self.use_c5 = use_c5

    def forward(self, coarsest: Tensor, body_map: Tensor) -> list[Tensor]:
        """P5 (B, out_channels, H, W) and C5 (B, C, H, W) -> P6 and P7, each of half the size before."""
        p6 = self.p6(body_map if self.use_c5 else coarsest)
        return [p6, self.p7(F.relu(p6))]


class FPN(nn.Module):
    """Top-down pathway with lateral connections."""

    def __init__(
        self,
        *,
        in_channels: Sequence[int],
        out_channels: int = 256,
        norm: NormName = "",
        norm_groups: int = 32,
        norm_eps: float = 1e-5,
        use_relu: bool = False,
        first_level: int = 1,
        top_block: nn.Module | None = None,
    ) -> None:
        """Build the lateral and output convolutions.

        Args:
            in_channels: of the body's maps, finest first.
            out_channels: of every level.
            norm: "" for convolutions with bias (Detectron), or a norm after each.
            norm_groups: groups of GN.
            norm_eps: epsilon of GN.
            use_relu: ReLU after each convolution.
            first_level: number of the finest level in the parameter names (1 for C2).
            top_block: makes coarser levels from the coarsest one and the body's last map; None for none.
        """
        super().__init__()
        self.levels = [first_level + i for i in range(len(in_channels))]
        for level, channels in zip(self.levels, in_channels, strict=True):
            for name, source, kernel in (("inner", channels, 1), ("layer", out_channels, 3)):
                conv = make_conv(
                    source,
                    out_channels,
                    kernel,
                    norm=norm,
                    norm_groups=norm_groups,
                    norm_eps=norm_eps,
                    use_relu=use_relu,
                    init="xavier",
                )
                self.add_module(f"fpn_{name}{level}", conv)
        self.top_blocks = top_block

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Maps of the body -> as many maps (B, out_channels, ...) and those of the top block.

        `OwnedMaps` are empty afterwards.
        """
        coarsest = features[-1] if self.top_blocks is not None else None
        merged: Tensor | None = None
        results: list[Tensor] = []
        for index in range(len(features) - 1, -1, -1):
            lateral = self._inner(index)(_take_last(features, index))
            merged = lateral if merged is None else _add_coarser(lateral, merged)
            results.insert(0, self._layer(index)(merged))
        if self.top_blocks is not None:
            results.extend(self.top_blocks(results[-1], coarsest))
        return results

    def _inner(self, index: int) -> nn.Module:
        return self.get_submodule(f"fpn_inner{self.levels[index]}")

    def _layer(self, index: int) -> nn.Module:
        return self.get_submodule(f"fpn_layer{self.levels[index]}")


def _take_last(features: Sequence[Tensor], index: int) -> Tensor:
    """Map `index`, the last of those that were not taken yet."""
    return features.pop() if isinstance(features, OwnedMaps) else features[index]


def _add_coarser(lateral: Tensor, coarse: Tensor) -> Tensor:
    """A fresh map (B, C, H, W) plus the coarser one, its cells repeated; eagerly without a tensor of its own."""
    height, width = lateral.shape[-2:]
    if torch.compiler.is_compiling():
        return lateral + F.interpolate(coarse, size=(height, width), mode="nearest")
    is_double = (height, width) == (2 * coarse.shape[-2], 2 * coarse.shape[-1])
    # Channels innermost: every cell is added as a whole to the four it covers.
    if (
        is_double
        and not torch.is_grad_enabled()
        and lateral.is_contiguous(memory_format=torch.channels_last)
    ):
        cells = lateral.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # (B, C, H / 2, 2, W / 2, 2)
        cells.add_(coarse[:, :, :, None, :, None])
        return lateral
    # Nearest by size: equal to a factor of 2 where the sizes are even, and defined where they are not.
    return F.interpolate(coarse, size=(height, width), mode="nearest").add_(lateral)
