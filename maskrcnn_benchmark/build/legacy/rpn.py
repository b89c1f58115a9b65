"""The proposal network's parts with their old signatures.

N: images.    L: levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from maskrcnn_benchmark.build import proposals as build
from maskrcnn_benchmark.build.legacy.retinanet import anchor_boxlists, build_retinanet
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.modeling.make_layers import initialise
from maskrcnn_benchmark.modeling.rpn.rpn import RPN
from maskrcnn_benchmark.numerics import get_numerics
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxlist_ops import cat_boxlist
from maskrcnn_benchmark.structures.image_list import ImageList
from maskrcnn_benchmark.structures.padded import PaddedTargets, proposals_to_boxlists


def head_arguments(cfg: Config, in_channels: int, num_anchors: int) -> dict[str, Any]:
    """Arguments of `RPNHead` from those of its old form."""
    return {
        "in_channels": in_channels,
        "num_anchors": num_anchors,
        "num_convs": cfg.MODEL.RPN.NUM_CONVS,
    }


def build_rpn(cfg: Config, in_channels: int) -> nn.Module:
    """The proposal network, or RetinaNet if RETINANET_ON; `forward(images, features, targets=None)`."""
    if cfg.MODEL.RETINANET_ON:
        return build_retinanet(cfg, in_channels)
    return RPNModule(cfg, in_channels)


class RPNModule(RPN):
    """The proposal network with the old `forward`."""

    def __init__(self, cfg: Config, in_channels: int) -> None:
        """Build what the config describes for maps of `in_channels`."""
        nn.Module.__init__(self)
        numerics = get_numerics(cfg.MODEL.NUMERICS)
        own = build.build_rpn(cfg, in_channels=in_channels, numerics=numerics)
        self.__dict__.update(own.__dict__)
        self.proposes_in_training = not cfg.MODEL.RPN_ONLY

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
            Inference: one BoxList per image with the field `objectness`, and no losses. Training: the same with the
            targets appended (objectness 1), for a network of proposals alone the anchors; and `loss_objectness` and
            `loss_rpn_box_reg`.

        Raises:
            ValueError: in training mode without targets.
        """
        device = features[0].device
        sizes = torch.tensor(images.image_sizes, dtype=torch.float32, device=device)
        if not self.training:
            found = super().forward(features, sizes)
            return proposals_to_boxlists(found, images.image_sizes), {}
        if targets is None:
            raise ValueError(
                "In training mode, targets must be passed: rpn(images, features, targets)."
            )
        padded = PaddedTargets.from_boxlists(targets, with_masks=False, device=device)
        proposals, losses = self.forward_training(
            features, sizes, padded, with_proposals=self.proposes_in_training
        )
        if proposals is None:
            return anchor_boxlists(self.anchor_generator(features), images), losses
        boxes = proposals_to_boxlists(proposals, images.image_sizes)
        return [_append(b, t) for b, t in zip(boxes, targets, strict=True)], losses


def _append(boxes: BoxList, target: BoxList) -> BoxList:
    own = BoxList(target.convert("xyxy").bbox, boxes.size)
    own.add_field("objectness", torch.ones(len(own), device=own.bbox.device))
    together = cat_boxlist([boxes, own])
    together.sample_seed = target.sample_seed
    return together


class RPNHeadFeatureSingleConv(nn.Module):
    """One 3x3 convolution with ReLU on every map.

    Attributes:
        out_channels: of the maps.
    """

    def __init__(self, cfg: Config, in_channels: int) -> None:
        """Build for maps of `in_channels`."""
        super().__init__()
        self.conv = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        initialise(self.conv, "normal")
        self.out_channels = in_channels

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        """L maps (N, C, H, W) -> L maps of the same shapes."""
        return [F.relu(self.conv(each)) for each in x]


class RPNHeadConvRegressor(nn.Module):
    """Objectness and box deltas of every anchor by a 1x1 convolution on every map."""

    def __init__(self, cfg: Config, in_channels: int, num_anchors: int) -> None:
        """Build for `num_anchors` per cell."""
        super().__init__()
        self.cls_logits = nn.Conv2d(in_channels, num_anchors, 1)
        self.bbox_pred = nn.Conv2d(in_channels, num_anchors * 4, 1)
        for layer in (self.cls_logits, self.bbox_pred):
            initialise(layer, "normal")

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """L maps (N, C, H, W) -> L objectness (N, a, H, W) and L deltas (N, 4a, H, W)."""
        return [self.cls_logits(each) for each in x], [self.bbox_pred(each) for each in x]
