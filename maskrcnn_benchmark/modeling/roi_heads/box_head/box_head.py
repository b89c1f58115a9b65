"""Box head: class and refined box of each proposal (Fast R-CNN, arXiv:1504.08083).

B: images.    K: proposals, S: sampled regions, D: detections of each image, padded.    R: rows that are computed.
C: classes, background included (label 0).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from maskrcnn_benchmark.layers.box_losses import BoxLossName, box_regression_loss
from maskrcnn_benchmark.layers.boxes import DeltaWeights
from maskrcnn_benchmark.layers.losses import masked_mean
from maskrcnn_benchmark.modeling.poolers import Rows
from maskrcnn_benchmark.modeling.roi_heads.box_head.inference import (
    BoxCandidates,
    BoxPostProcessor,
)
from maskrcnn_benchmark.modeling.roi_heads.sampling import RegionSampler, SampledRegions
from maskrcnn_benchmark.structures.padded import PaddedDetections, PaddedTargets, Proposals


class BoxHead(nn.Module):
    """Features, predictions, losses and detections of regions."""

    def __init__(
        self,
        *,
        feature_extractor: nn.Module,
        predictor: nn.Module,
        post_processor: BoxPostProcessor | None = None,
        sampler: RegionSampler | None = None,
        delta_weights: DeltaWeights = (10.0, 10.0, 5.0, 5.0),
        class_agnostic: bool = False,
        loss: BoxLossName = "smooth_l1",
        beta: float = 1.0,
        box_offset: float = 1.0,
    ) -> None:
        """Put the parts together.

        Args:
            feature_extractor: (maps, boxes, rows) -> features of the rows.
            predictor: features -> logits and deltas.
            post_processor: logits and deltas -> detections.
            sampler: chooses the regions that train.
            delta_weights: factors of (dx, dy, dw, dh).
            class_agnostic: one box for all classes.
            loss: of the boxes.
            beta: of smooth L1, 0 for L1.
            box_offset: 1 for inclusive corners, 0 for continuous ones.
        """
        super().__init__()
        self.feature_extractor = feature_extractor
        self.predictor = predictor
        self.post_processor = post_processor or BoxPostProcessor(
            delta_weights=delta_weights, class_agnostic=class_agnostic, box_offset=box_offset
        )
        self.sampler = sampler or RegionSampler(box_offset=box_offset)
        self.delta_weights = delta_weights
        self.class_agnostic = class_agnostic
        self.loss: BoxLossName = loss
        self.beta = beta
        self.box_offset = box_offset

    def forward(
        self, features: Sequence[Tensor], proposals: Proposals, image_sizes: Tensor
    ) -> PaddedDetections:
        """Detections of every image."""
        logits, deltas = self._predict(features, proposals)
        return self.post_processor(proposals.boxes, proposals.valid, logits, deltas, image_sizes)

    def candidates(
        self, features: Sequence[Tensor], proposals: Proposals, image_sizes: Tensor
    ) -> BoxCandidates:
        """Every box of every class, for those who bring several runs together (`engine.test_time_aug`)."""
        logits, deltas = self._predict(features, proposals)
        return self.post_processor.candidates(
            proposals.boxes, proposals.valid, logits.softmax(dim=-1), deltas, image_sizes
        )

    def _predict(self, features: Sequence[Tensor], proposals: Proposals) -> tuple[Tensor, Tensor]:
        """Logits (B, K, C) and deltas (B, K, 4 * C or 8) of all proposals."""
        shape = proposals.valid.shape
        rows = Rows.of(proposals.valid)
        logits, deltas = self.predictor(self.feature_extractor(features, proposals.boxes, rows))
        return rows.put(logits, shape), rows.put(deltas, shape)

    def forward_training(
        self,
        features: Sequence[Tensor],
        proposals: Proposals,
        targets: PaddedTargets,
        image_sizes: Tensor | None = None,
    ) -> tuple[SampledRegions, tuple[Tensor, Rows], dict[str, Tensor]]:
        """The sampled regions, their features and rows, `loss_classifier` and `loss_box_reg`.

        The image sizes are for heads that move regions while they train (`CascadeHead`); here they are not used.
        """
        regions = self.sampler(proposals, targets)
        rows = Rows.of(regions.valid)
        x = self.feature_extractor(features, regions.boxes, rows)
        logits, deltas = self.predictor(x)
        classifier, boxes = compute_box_losses(
            logits,
            deltas,
            regions,
            rows,
            weights=self.delta_weights,
            class_agnostic=self.class_agnostic,
            loss=self.loss,
            beta=self.beta,
            box_offset=self.box_offset,
        )
        return regions, (x, rows), {"loss_classifier": classifier, "loss_box_reg": boxes}


def compute_box_losses(
    logits: Tensor,
    deltas: Tensor,
    regions: SampledRegions,
    rows: Rows,
    *,
    weights: DeltaWeights,
    class_agnostic: bool,
    loss: BoxLossName,
    beta: float,
    box_offset: float,
) -> tuple[Tensor, Tensor]:
    """Losses of class and box of the regions that train.

    Args:
        logits: (R, C).
        deltas: (R, 4 * C), or (R, 8) if class-agnostic.
        regions: what they should become.
        rows: which of the regions the R are.
        weights: factors of (dx, dy, dw, dh).
        class_agnostic: one box for all classes.
        loss: of the boxes.
        beta: of smooth L1.
        box_offset: 1 for inclusive corners, 0 for continuous ones.
    """
    labels = rows.take(regions.labels)  # (R,)
    classifier = masked_mean(F.cross_entropy(logits, labels, reduction="none"), rows.valid)
    column = torch.where(labels > 0, 1, 0) if class_agnostic else labels
    own = deltas.unflatten(1, (-1, 4)).gather(1, column[:, None, None].expand(-1, 1, 4))
    boxes = box_regression_loss(
        loss,
        own.squeeze(1),
        rows.take(regions.boxes),
        rows.take(regions.target_boxes),
        rows.valid & (labels > 0),
        weights=weights,
        beta=beta,
        offset=box_offset,
    )
    # Detectron divides by all sampled regions, background included.
    return classifier, boxes / rows.valid.sum().clamp(min=1)
