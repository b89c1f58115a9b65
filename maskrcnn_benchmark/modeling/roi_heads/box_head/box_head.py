"""Box head: class and refined box of each proposal (Fast R-CNN, arXiv:1504.08083).

B: images.    K: proposals, S: sampled regions, D: detections of each image, padded.    R: rows that are computed.
C: classes, background included (label 0).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from maskrcnn_benchmark.layers.boxes import DeltaWeights, encode_boxes
from maskrcnn_benchmark.layers.losses import masked_mean, smooth_l1_sum
from maskrcnn_benchmark.modeling.poolers import Rows
from maskrcnn_benchmark.modeling.roi_heads.box_head.inference import BoxPostProcessor
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
        self.box_offset = box_offset

    def forward(
        self, features: Sequence[Tensor], proposals: Proposals, image_sizes: Tensor
    ) -> PaddedDetections:
        """Detections of every image."""
        shape = proposals.valid.shape
        rows = Rows.of(proposals.valid)
        logits, deltas = self.predictor(self.feature_extractor(features, proposals.boxes, rows))
        return self.post_processor(
            proposals.boxes,
            proposals.valid,
            rows.put(logits, shape),
            rows.put(deltas, shape),
            image_sizes,
        )

    def forward_training(
        self, features: Sequence[Tensor], proposals: Proposals, targets: PaddedTargets
    ) -> tuple[SampledRegions, tuple[Tensor, Rows], dict[str, Tensor]]:
        """The sampled regions, their features and rows, `loss_classifier` and `loss_box_reg`."""
        regions = self.sampler(proposals, targets)
        rows = Rows.of(regions.valid)
        x = self.feature_extractor(features, regions.boxes, rows)
        logits, deltas = self.predictor(x)
        return regions, (x, rows), self._losses(logits, deltas, regions, rows)

    def _losses(
        self, logits: Tensor, deltas: Tensor, regions: SampledRegions, rows: Rows
    ) -> dict[str, Tensor]:
        labels = rows.take(regions.labels)  # (R,)
        loss_classifier = masked_mean(F.cross_entropy(logits, labels, reduction="none"), rows.valid)
        column = torch.where(labels > 0, 1, 0) if self.class_agnostic else labels
        own = deltas.unflatten(1, (-1, 4)).gather(1, column[:, None, None].expand(-1, 1, 4))
        wanted = encode_boxes(
            rows.take(regions.target_boxes),
            rows.take(regions.boxes),
            weights=self.delta_weights,
            offset=self.box_offset,
        )
        total = smooth_l1_sum(own.squeeze(1), wanted, rows.valid & (labels > 0), beta=1.0)
        # Detectron divides by all sampled regions, background included.
        return {
            "loss_classifier": loss_classifier,
            "loss_box_reg": total / rows.valid.sum().clamp(min=1),
        }
