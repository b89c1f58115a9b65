"""RetinaNet with its old signature.

N: images.    L: levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.build.retinanet import build_retinanet_module
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.modeling.rpn.retinanet import RetinaNetModule
from maskrcnn_benchmark.numerics import get_numerics
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList
from maskrcnn_benchmark.structures.padded import PaddedTargets, detections_to_boxlists


def build_retinanet(cfg: Config, in_channels: int) -> nn.Module:
    """What takes the place of the proposal network; `forward(images, features, targets=None)`."""
    return BoxListRetinaNet(cfg, in_channels)


class BoxListRetinaNet(RetinaNetModule):
    """RetinaNet behind the backbone, with the old `forward`."""

    def __init__(self, cfg: Config, in_channels: int) -> None:
        """Build what the config describes for maps of `in_channels`."""
        nn.Module.__init__(self)
        numerics = get_numerics(cfg.MODEL.NUMERICS)
        own = build_retinanet_module(cfg, in_channels=in_channels, numerics=numerics)
        self.__dict__.update(own.__dict__)

    def forward(  # type: ignore[override]
        self,
        images: ImageList,
        features: Sequence[Tensor],
        targets: Sequence[BoxList] | None = None,
    ) -> tuple[Any, dict[str, Tensor]]:
        """Boxes and losses.

        Args:
            images: read for the sizes.
            features: L maps (N, C, H, W).
            targets: one per image; required in training mode.

        Returns:
            Inference: one BoxList per image with the fields scores and labels, and no losses. Training: the anchors (N
            times L BoxLists), and `loss_retina_cls` and `loss_retina_reg`.

        Raises:
            ValueError: in training mode without targets.
        """
        device = features[0].device
        if not self.training:
            sizes = torch.tensor(images.image_sizes, dtype=torch.float32, device=device)
            return detections_to_boxlists(super().forward(features, sizes), images.image_sizes), {}
        if targets is None:
            raise ValueError(
                "In training mode, targets must be passed: rpn(images, features, targets)."
            )
        padded = PaddedTargets.from_boxlists(targets, with_masks=False, device=device)
        losses = self.forward_training(features, padded)
        return anchor_boxlists(self.anchor_generator(features), images), losses


def anchor_boxlists(anchors: Sequence[Tensor], images: ImageList) -> list[list[BoxList]]:
    """The anchors of all levels, L times (A_l, 4), as N times L BoxLists."""
    return [
        [BoxList(level, (width, height)) for level in anchors]
        for height, width in images.image_sizes
    ]
