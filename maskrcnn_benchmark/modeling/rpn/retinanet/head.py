"""The two towers of RetinaNet (Lin et al., 2017, arXiv:1708.02002, section 4), shared by all levels.

B: images.    a: anchors per cell.    C: classes without background.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from maskrcnn_benchmark.layers.norms import NormName
from maskrcnn_benchmark.modeling.make_layers import initialise, make_conv


class RetinaNetHead(nn.Module):
    """Class logits and box deltas of every anchor, each from its own tower of 3x3 convolutions."""

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        num_anchors: int = 9,
        num_convs: int = 4,
        prior_probability: float = 0.01,
        norm: NormName = "",
        norm_groups: int = 32,
    ) -> None:
        """Build the towers.

        Args:
            in_channels: of each map, and of the towers.
            num_classes: background included; it has no logit of its own.
            num_anchors: a.
            num_convs: convolutions of each tower.
            prior_probability: score of every anchor and class before training (section 4.1).
            norm: "" for convolutions with bias (Detectron), or a norm after each.
            norm_groups: groups of GN.
        """
        super().__init__()
        for name in ("cls_tower", "bbox_tower"):
            tower: list[nn.Module] = []
            for _ in range(num_convs):
                conv = make_conv(
                    in_channels, in_channels, 3, norm=norm, norm_groups=norm_groups, init="normal"
                )
                tower += [*conv.children()] if norm else [conv]
                tower.append(nn.ReLU(inplace=True))
            self.add_module(name, nn.Sequential(*tower))
        self.cls_logits = nn.Conv2d(in_channels, num_anchors * (num_classes - 1), 3, padding=1)
        self.bbox_pred = nn.Conv2d(in_channels, num_anchors * 4, 3, padding=1)
        initialise(self.cls_logits, "normal")
        initialise(self.bbox_pred, "normal")
        assert self.cls_logits.bias is not None
        nn.init.constant_(
            self.cls_logits.bias, -math.log((1 - prior_probability) / prior_probability)
        )

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """L maps (B, channels, H, W) -> L logits (B, a * C, H, W) and L deltas (B, 4a, H, W)."""
        cls_tower, bbox_tower = self.get_submodule("cls_tower"), self.get_submodule("bbox_tower")
        logits = [self.cls_logits(cls_tower(feature)) for feature in features]
        deltas = [self.bbox_pred(bbox_tower(feature)) for feature in features]
        return logits, deltas
