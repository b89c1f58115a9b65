"""A body (classification network without its head) with an optional neck."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.modeling.backbone.fpn import FPN, OwnedMaps


class Backbone(nn.Sequential):
    """Body and neck in a row, under the old names `body` and `fpn`.

    Attributes:
        out_channels: channels of each map.
        strides: image pixels per cell of each map, finest first.
    """

    def __init__(
        self,
        *,
        body: nn.Module,
        fpn: nn.Module | None = None,
        out_channels: int,
        strides: tuple[int, ...],
    ) -> None:
        """Chain the parts.

        Args:
            body: images (B, 3, H, W) -> list of maps.
            fpn: maps of the body -> list of maps; None for the body's own.
            out_channels: channels of every map that leaves.
            strides: image pixels per cell of every map that leaves.
        """
        parts = OrderedDict(body=body)
        if fpn is not None:
            parts["fpn"] = fpn
        super().__init__(parts)
        self.out_channels = out_channels
        self.strides = strides

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> maps (B, out_channels, H / stride, W / stride), finest first."""
        may_free = not torch.is_grad_enabled() and not torch.compiler.is_compiling()
        features: Any = images
        for part in self:
            if may_free and isinstance(part, FPN):
                features = OwnedMaps(features)
            features = part(features)
        maps: list[Tensor] = features
        return maps
