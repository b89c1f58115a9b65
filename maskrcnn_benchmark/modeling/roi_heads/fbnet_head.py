"""Features of regions by the blocks of an FBNet table (arXiv:1812.03443), for boxes, masks and keypoints alike.

R: regions.    C: channels of the maps.    D: features.    S: side of the pooled region.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.row_norm import run_rows
from maskrcnn_benchmark.modeling.backbone.fbnet_archs import BlockSpec
from maskrcnn_benchmark.modeling.backbone.fbnet_blocks import (
    DEFAULT_STYLE,
    ConvNorm,
    FBNetStyle,
    make_blocks,
)
from maskrcnn_benchmark.modeling.poolers import Pooler, Rows


def select_blocks(
    specs: Sequence[BlockSpec], *, indices: Sequence[int] = (), stride: int = 0
) -> list[BlockSpec]:
    """Some blocks of a head.

    Args:
        specs: all of them.
        indices: which to take; none for all.
        stride: of the first block taken, if not 0.

    Raises:
        ConfigError: for an index that is not there.
    """
    beyond = [index for index in indices if not 0 <= index < len(specs)]
    if beyond:
        raise ConfigError(
            f"MODEL.FBNET.*_HEAD_BLOCKS: the head has {len(specs)} blocks, from 0; got {beyond}."
        )
    taken = [specs[index] for index in indices] if indices else list(specs)
    if stride:
        taken[0] = taken[0]._replace(stride=stride)
    return taken


class FBNetFeatureExtractor(nn.Module):
    """Pooling, blocks (`head.blocks`) and perhaps a last 1x1 convolution (`head.last`)."""

    def __init__(
        self,
        *,
        pooler: Pooler,
        in_channels: int,
        specs: Sequence[BlockSpec],
        style: FBNetStyle = DEFAULT_STYLE,
        last_channels: int = 0,
        last_scale: float = 0.0,
    ) -> None:
        """Build.

        Args:
            pooler: of S x S.
            in_channels: C.
            specs: the blocks (`select_blocks`).
            style: widths and norms.
            last_channels: of the table's last convolution; 0 for none.
            last_scale: factor of them; negative for so many times the channels that enter it; 0 for no last one.
        """
        super().__init__()
        self.pooler = pooler
        blocks, channels = make_blocks(specs, in_channels=in_channels, style=style)
        parts: OrderedDict[str, nn.Module] = OrderedDict(blocks=blocks)
        width = 0
        if last_scale < 0:
            width = style.width(channels * -last_scale, scaled=False)
        elif last_scale > 0 and last_channels > 0:
            width = style.width(last_channels * last_scale, scaled=False)
        if width:
            parts["last"] = ConvNorm(
                in_channels=channels, out_channels=width, kernel=1, norm=style.norm
            )
        self.head = nn.Sequential(parts)
        self.out_channels = width or channels

    def forward(self, features: Sequence[Tensor], boxes: Tensor, rows: Rows) -> Tensor:
        """Maps and boxes (B, K, 4) -> (R, D, S', S')."""
        return run_rows(self.head, self.pooler(features, boxes, rows), rows.padded)
