"""Keypoint head: a heat map per keypoint inside each box (Mask R-CNN, arXiv:1703.06870, section 5).

B: images.    D: detections, R': regions of each image, padded.    G: targets of each image, padded.    R: rows that
are computed.    K: keypoints of an object.    S: side of the heat maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.layers.keypoints import (
    best_probability,
    decode_heat_maps,
    heat_map_targets,
    keypoints_inside,
)
from maskrcnn_benchmark.modeling.make_layers import initialise, make_conv
from maskrcnn_benchmark.modeling.poolers import Pooler, Rows
from maskrcnn_benchmark.modeling.roi_heads.sampling import SampledRegions
from maskrcnn_benchmark.structures.padded import PaddedDetections, PaddedTargets

# A region trains if a keypoint is visible inside its target's box (Detectron), or inside its own.
VisibleIn = Literal["gt_box", "proposal"]
# What the score of a keypoint is: the heat map's logit, or detectron2's probability.
ScoreKind = Literal["logit", "probability"]


class KeypointFeatureExtractor(nn.Module):
    """3x3 convolutions `conv_fcn1`, `conv_fcn2`, ... on the pooled region."""

    def __init__(
        self, *, pooler: Pooler, in_channels: int = 256, layers: Sequence[int] = (512,) * 8
    ) -> None:
        """Build one convolution for each entry of `layers`, its output channels."""
        super().__init__()
        self.pooler = pooler
        self.blocks = [f"conv_fcn{number}" for number in range(1, len(layers) + 1)]
        for name, channels in zip(self.blocks, layers, strict=True):
            self.add_module(name, make_conv(in_channels, channels, 3))
            in_channels = channels
        self.out_channels = in_channels

    def forward(self, features: Sequence[Tensor], boxes: Tensor, rows: Rows) -> Tensor:
        """Maps and boxes (B, D, 4) -> (R, channels, side, side)."""
        x: Tensor = self.pooler(features, boxes, rows)
        x = x.contiguous(memory_format=torch.channels_last)
        for name in self.blocks:
            x = F.relu_(self.get_submodule(name)(x))
        return x


class KeypointPredictor(nn.Module):
    """Transposed convolution to a heat map per keypoint, then bilinear enlargement: four times the side."""

    def __init__(self, *, in_channels: int, num_keypoints: int = 17) -> None:
        """Build."""
        super().__init__()
        self.kps_score_lowres = nn.ConvTranspose2d(
            in_channels, num_keypoints, 4, stride=2, padding=1
        )
        initialise(self.kps_score_lowres, "msra")
        self.num_keypoints = num_keypoints

    def forward(self, x: Tensor) -> Tensor:
        """(R, channels, side, side) -> logits (R, K, 4 * side, 4 * side)."""
        logits: Tensor = self.kps_score_lowres(x)
        return F.interpolate(
            logits.float(), scale_factor=2.0, mode="bilinear", align_corners=False
        ).contiguous()


class KeypointHead(nn.Module):
    """Features, keypoints and loss."""

    def __init__(
        self,
        *,
        feature_extractor: nn.Module,
        predictor: nn.Module,
        resolution: int = 56,
        visible_in: VisibleIn = "gt_box",
        score: ScoreKind = "logit",
        loss_normalizer: float | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            feature_extractor: (maps, boxes, rows) -> features of the rows.
            predictor: features -> heat maps.
            resolution: S.
            visible_in: see `VisibleIn`.
            score: see `ScoreKind`.
            loss_normalizer: what the loss of one image is divided by: detectron2's static one is
                K * batch_size_per_image * positive_fraction. None (Detectron): the mean over the visible keypoints.
        """
        super().__init__()
        self.feature_extractor = feature_extractor
        self.predictor = predictor
        self.resolution = resolution
        self.visible_in = visible_in
        self.score = score
        self.loss_normalizer = loss_normalizer

    def forward(
        self, features: Sequence[Tensor], detections: PaddedDetections
    ) -> tuple[Tensor, Tensor]:
        """Keypoints of each detection.

        Returns:
            (B, D, K, 3): x, y in network pixels and 1; and their scores (B, D, K).
        """
        return self.decode(self.predict(features, detections), detections)

    def predict(self, features: Sequence[Tensor], detections: PaddedDetections) -> Tensor:
        """Heat maps (R, K, S, S) of the rows that are computed."""
        rows = Rows.of(detections.valid)
        heat_maps: Tensor = self.predictor(self.feature_extractor(features, detections.boxes, rows))
        return heat_maps

    def decode(self, heat_maps: Tensor, detections: PaddedDetections) -> tuple[Tensor, Tensor]:
        """What `forward` returns, from the heat maps that `predict` gives."""
        rows = Rows.of(detections.valid)
        found = decode_heat_maps(heat_maps, rows.take(detections.boxes), rows.valid)
        places, scores = found[..., :2], found[..., 2]
        if self.score == "probability":
            scores = torch.where(rows.valid[:, None], best_probability(heat_maps, scores), 0.0)
        visible = rows.valid[:, None, None].expand(-1, scores.shape[1], 1).to(places.dtype)
        shape = detections.valid.shape
        return rows.put(torch.cat((places, visible), dim=2), shape), rows.put(scores, shape)

    def forward_training(
        self,
        features: Sequence[Tensor],
        regions: SampledRegions,
        targets: PaddedTargets,
        *,
        shared_features: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """`loss_kp`: cross entropy over the cells of each visible keypoint's heat map.

        Args:
            features: maps of the backbone.
            regions: positives, padded. Detectron samples them a second time, with the same limit that they were
                sampled with: all of them stay.
            targets: ground truth with keypoints.
            shared_features: features of the box head's rows, and the row (B, R'') of each of its regions, of which
                these are the first ones (C4).

        Raises:
            ShapeError: if the targets have no keypoints or another number of them, or the resolution is not what the
                predictor gives.
        """
        own = self._own_keypoints(regions, targets)  # (B, R', K, 3)
        boxes = regions.target_boxes if self.visible_in == "gt_box" else regions.boxes
        regions = regions._replace(valid=regions.valid & keypoints_inside(own, boxes).any(dim=-1))
        rows = Rows.of(regions.valid)
        if shared_features is None:
            x = self.feature_extractor(features, regions.boxes, rows)
        else:
            box_features, position = shared_features
            x = box_features[rows.take(position[:, : regions.valid.shape[1]])]
        heat_maps = self.predictor(x)
        self._check(heat_maps, own)
        cells, visible = heat_map_targets(
            rows.take(own), rows.take(regions.boxes), size=self.resolution
        )  # (R, K)
        visible = visible & rows.valid[:, None]
        losses = F.cross_entropy(
            heat_maps.flatten(2).flatten(0, 1), cells.flatten(), reduction="none"
        )
        total = torch.where(visible.flatten(), losses, 0.0).sum()
        if self.loss_normalizer is not None:
            return total / (self.loss_normalizer * len(regions.valid))
        return total / visible.sum().clamp(min=1)

    def _own_keypoints(self, regions: SampledRegions, targets: PaddedTargets) -> Tensor:
        """The keypoints (B, R', K, 3) of each region's target."""
        if targets.keypoints is None:
            raise ShapeError(
                "The keypoint head needs targets with the field 'keypoints' (Keypoints), got none. "
                "Add it in the dataset, or set MODEL.KEYPOINT_ON False."
            )
        keypoints = targets.keypoints
        if not keypoints.shape[2]:
            # A batch without any object.
            count = getattr(self.predictor, "num_keypoints", 1)
            keypoints = keypoints.new_zeros((*keypoints.shape[:2], count, 3))
        index = regions.targets[..., None, None].expand(-1, -1, *keypoints.shape[2:])
        return keypoints.gather(1, index)

    def _check(self, heat_maps: Tensor, keypoints: Tensor) -> None:
        count, side = heat_maps.shape[1], heat_maps.shape[-1]
        if keypoints.shape[2] != count:
            raise ShapeError(
                f"The keypoint predictor gives {count} keypoints, but the targets have {keypoints.shape[2]}. "
                f"Set MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES to {keypoints.shape[2]}."
            )
        if side != self.resolution:
            raise ShapeError(
                f"The keypoint predictor gives heat maps of {side} x {side} cells, but the resolution is "
                f"{self.resolution}. Set MODEL.ROI_KEYPOINT_HEAD.RESOLUTION to {side}."
            )
