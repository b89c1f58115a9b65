"""Proposal head of FBNet (arXiv:1812.03443): blocks of its table, then objectness and box deltas.

B: images.    L: levels.    a: anchors per cell.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling.backbone.fbnet_archs import BlockSpec
from maskrcnn_benchmark.modeling.backbone.fbnet_blocks import DEFAULT_STYLE, FBNetStyle, make_blocks
from maskrcnn_benchmark.modeling.make_layers import initialise


class _Blocks(nn.Module):
    def __init__(self, *, in_channels: int, specs: Sequence[BlockSpec], style: FBNetStyle) -> None:
        super().__init__()
        self.head, self.out_channels = make_blocks(specs, in_channels=in_channels, style=style)

    def forward(self, feature: Tensor) -> Tensor:
        result: Tensor = self.head(feature)
        return result


class _Regressor(nn.Module):
    def __init__(self, *, in_channels: int, num_anchors: int) -> None:
        super().__init__()
        self.cls_logits = nn.Conv2d(in_channels, num_anchors, 1)
        self.bbox_pred = nn.Conv2d(in_channels, num_anchors * 4, 1)
        for layer in (self.cls_logits, self.bbox_pred):
            initialise(layer, "normal")

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        return self.cls_logits(hidden), self.bbox_pred(hidden)


class FBNetRPNHead(nn.Sequential):
    """Blocks (`0.head`) and two 1x1 convolutions (`1.cls_logits`, `1.bbox_pred`), shared by all levels."""

    def __init__(
        self,
        *,
        in_channels: int,
        num_anchors: int,
        specs: Sequence[BlockSpec],
        style: FBNetStyle = DEFAULT_STYLE,
    ) -> None:
        """Build.

        Args:
            in_channels: of the maps.
            num_anchors: a.
            specs: the blocks; they must keep the maps' size, which anchors are laid on.
            style: widths and norms.

        Raises:
            ConfigError: if a block changes the size.
        """
        moving = [spec.name for spec in specs if spec.stride != 1]
        if moving:
            raise ConfigError(
                "FBNet.rpn_head: expected blocks of stride 1, since the anchors lie on the backbone's map; "
                f"{', '.join(moving)} change its size. A table without 'rpn' uses all of its stages: set "
                "MODEL.FBNET.RPN_HEAD_BLOCKS to so many of the last blocks, or MODEL.RPN.RPN_HEAD to SingleConvRPNHead."
            )
        blocks = _Blocks(in_channels=in_channels, specs=specs, style=style)
        super().__init__(
            blocks, _Regressor(in_channels=blocks.out_channels, num_anchors=num_anchors)
        )

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """L maps (B, C, H, W) -> L objectness (B, a, H, W) and L deltas (B, 4a, H, W)."""
        blocks, regressor = self
        objectness, deltas = [], []
        for feature in features:
            logits, regression = regressor(blocks(feature))
            objectness.append(logits)
            deltas.append(regression)
        return objectness, deltas
