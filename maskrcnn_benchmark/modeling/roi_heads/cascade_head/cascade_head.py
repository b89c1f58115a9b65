"""Cascade R-CNN (Cai and Vasconcelos, arXiv:1712.00726): box heads in a row, each on the boxes of the one before.

- The first stage trains on a sample of the proposals, as an ordinary box head. Each further stage trains on all boxes
  that the stage before made of them, labelled anew with a higher threshold (section 4.2).
- Boxes are class-agnostic: one for all classes.
- Losses are called `loss_classifier_stage0`, `loss_box_reg_stage0`, `loss_classifier_stage1`, ... The stages share the
  gradient that reaches the maps: each counts for 1 / T of it.
- Detections have the boxes of the last stage, and the mean of all stages' scores (section 4.3).

B: images.    K: proposals, S: sampled regions, D: detections of each image, padded.    R: rows that are computed.
C: classes, background included (label 0).    T: stages.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.layers.box_losses import BoxLossName
from maskrcnn_benchmark.layers.boxes import DeltaWeights, clip_boxes, decode_boxes, is_at_least
from maskrcnn_benchmark.layers.matching import match_boxes
from maskrcnn_benchmark.layers.scale_gradient import scale_gradient
from maskrcnn_benchmark.modeling.poolers import Rows
from maskrcnn_benchmark.modeling.roi_heads.box_head.box_head import compute_box_losses
from maskrcnn_benchmark.modeling.roi_heads.box_head.inference import (
    BoxCandidates,
    BoxPostProcessor,
)
from maskrcnn_benchmark.modeling.roi_heads.sampling import RegionSampler, SampledRegions
from maskrcnn_benchmark.numerics import NON_EMPTY
from maskrcnn_benchmark.structures.padded import PaddedDetections, PaddedTargets, Proposals


class CascadeStage(nn.Module):
    """One box head of the row."""

    def __init__(
        self,
        *,
        feature_extractor: nn.Module,
        predictor: nn.Module,
        fg_iou_threshold: float = 0.5,
        delta_weights: DeltaWeights = (10.0, 10.0, 5.0, 5.0),
    ) -> None:
        """Put the parts together.

        Args:
            feature_extractor: (maps, boxes, rows) -> features of the rows.
            predictor: features -> logits (R, C) and class-agnostic deltas (R, 8).
            fg_iou_threshold: overlap with a target from which a box gets its class.
            delta_weights: factors of (dx, dy, dw, dh).
        """
        super().__init__()
        self.feature_extractor = feature_extractor
        self.predictor = predictor
        self.fg_iou_threshold = fg_iou_threshold
        self.delta_weights = delta_weights

    def forward(
        self, features: Sequence[Tensor], boxes: Tensor, rows: Rows
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Features, logits (R, C) and deltas (R, 8) of regions (B, K, 4)."""
        x: Tensor = self.feature_extractor(features, boxes, rows)
        logits, deltas = self.predictor(x)
        return x, logits, deltas


class CascadeHead(nn.Module):
    """Takes the place of `BoxHead`."""

    def __init__(
        self,
        *,
        stages: Sequence[CascadeStage],
        post_processor: BoxPostProcessor | None = None,
        sampler: RegionSampler | None = None,
        loss: BoxLossName = "smooth_l1",
        beta: float = 1.0,
        box_offset: float = 1.0,
    ) -> None:
        """Put the parts together.

        Args:
            stages: T of them, first to last.
            post_processor: scores and deltas of the last stage -> detections; class-agnostic, with the delta weights
                of the last stage.
            sampler: chooses the regions that the first stage trains on, by that stage's threshold.
            loss: of the boxes.
            beta: of smooth L1, 0 for L1.
            box_offset: 1 for inclusive corners, 0 for continuous ones.
        """
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.post_processor = post_processor or BoxPostProcessor(
            delta_weights=stages[-1].delta_weights, class_agnostic=True, box_offset=box_offset
        )
        threshold = stages[0].fg_iou_threshold
        self.sampler = sampler or RegionSampler(
            fg_iou_threshold=threshold, bg_iou_threshold=threshold, box_offset=box_offset
        )
        self.loss: BoxLossName = loss
        self.beta = beta
        self.box_offset = box_offset

    @property
    def feature_extractor(self) -> nn.Module:
        """That of the first stage: what a mask head shares if it shares (C4)."""
        extractor = self.stages[0].feature_extractor
        assert isinstance(extractor, nn.Module)
        return extractor

    def forward(
        self, features: Sequence[Tensor], proposals: Proposals, image_sizes: Tensor
    ) -> PaddedDetections:
        """Detections of every image."""
        return self.post_processor.filter(self.candidates(features, proposals, image_sizes))

    def candidates(
        self, features: Sequence[Tensor], proposals: Proposals, image_sizes: Tensor
    ) -> BoxCandidates:
        """Every box of every class, for those who bring several runs together (`engine.test_time_aug`)."""
        shape = proposals.valid.shape
        rows = Rows.of(proposals.valid)
        *stages, last = self._stages()
        boxes, scores = proposals.boxes, []
        for stage in stages:
            _, logits, deltas = stage(features, boxes, rows)
            scores.append(logits.softmax(dim=-1))
            boxes = self._refine(stage, boxes, rows.put(deltas, shape), image_sizes)
        _, logits, deltas = last(features, boxes, rows)
        scores.append(logits.softmax(dim=-1))
        return self.post_processor.candidates(
            boxes,
            proposals.valid,
            rows.put(torch.stack(scores).mean(dim=0), shape),
            rows.put(deltas, shape),
            image_sizes,
        )

    def forward_training(
        self,
        features: Sequence[Tensor],
        proposals: Proposals,
        targets: PaddedTargets,
        image_sizes: Tensor | None = None,
    ) -> tuple[SampledRegions, tuple[Tensor, Rows], dict[str, Tensor]]:
        """The regions of the first stage, their features and rows, and the losses of all stages.

        Raises:
            ShapeError: without image sizes, (B, 2) height and width without padding.
        """
        if image_sizes is None:
            raise ShapeError(
                "CascadeHead.forward_training: expected image_sizes (B, 2), to which boxes are cut between the "
                "stages, got None. Pass them to ROIHeads.forward_training."
            )
        # Scaled before pooling, which is linear: the same as scaling what each stage pools.
        features = [scale_gradient(feature, 1.0 / len(self.stages)) for feature in features]
        first = regions = self.sampler(proposals, targets)
        shape = first.valid.shape
        kept: tuple[Tensor, Rows] | None = None
        losses: dict[str, Tensor] = {}
        for number, stage in enumerate(self._stages()):
            rows = Rows.of(regions.valid)
            x, logits, deltas = stage(features, regions.boxes, rows)
            kept = kept or (x, rows)
            classifier, box_reg = compute_box_losses(
                logits,
                deltas,
                regions,
                rows,
                weights=stage.delta_weights,
                class_agnostic=True,
                loss=self.loss,
                beta=self.beta,
                box_offset=self.box_offset,
            )
            losses[f"loss_classifier_stage{number}"] = classifier
            losses[f"loss_box_reg_stage{number}"] = box_reg
            if number + 1 < len(self.stages):
                moved = self._refine(stage, regions.boxes, rows.put(deltas, shape), image_sizes)
                regions = label_regions(
                    moved,
                    regions.valid & is_at_least(moved, NON_EMPTY, offset=self.box_offset),
                    targets,
                    iou_threshold=self._stages()[number + 1].fg_iou_threshold,
                    offset=self.box_offset,
                )
        assert kept is not None
        return first, kept, losses

    def _stages(self) -> list[CascadeStage]:
        return [stage for stage in self.stages if isinstance(stage, CascadeStage)]

    @torch.no_grad()
    def _refine(
        self, stage: CascadeStage, boxes: Tensor, deltas: Tensor, image_sizes: Tensor
    ) -> Tensor:
        """Boxes (B, K, 4) moved by the deltas (B, K, 8) that a stage predicts for them, inside the image."""
        moved = decode_boxes(
            deltas[..., -4:].detach(), boxes, weights=stage.delta_weights, offset=self.box_offset
        )
        return clip_boxes(moved, image_sizes, offset=self.box_offset)


@torch.no_grad()
def label_regions(
    boxes: Tensor, valid: Tensor, targets: PaddedTargets, *, iou_threshold: float, offset: float
) -> SampledRegions:
    """All regions with what they should become, without a draw.

    Args:
        boxes: (B, S, 4).
        valid: (B, S) bool.
        targets: ground truth.
        iou_threshold: overlap from which a region gets the class of a target; below it is background.
        offset: 1 for inclusive corners, 0 for continuous ones.
    """
    matches = match_boxes(
        targets.boxes,
        targets.valid,
        boxes,
        high_threshold=iou_threshold,
        low_threshold=iou_threshold,
        offset=offset,
    )
    own = matches.clamp(min=0)  # (B, S)
    return SampledRegions(
        boxes=boxes,
        labels=torch.where(matches >= 0, targets.labels.gather(1, own), 0),
        targets=own,
        target_boxes=targets.boxes.gather(1, own[..., None].expand(-1, -1, 4)),
        valid=valid,
    )
