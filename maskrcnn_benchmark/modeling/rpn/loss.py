"""Losses of the region proposal network (Faster R-CNN, section 3.1.2).

B: images.    A: anchors.    G: targets per image, padded.    S: sampled anchors per image.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from maskrcnn_benchmark.layers.box_losses import BoxLossName, box_regression_loss
from maskrcnn_benchmark.layers.matching import BETWEEN_THRESHOLDS, match_boxes
from maskrcnn_benchmark.layers.sampling import ANCHOR_STREAM, sample_labels
from maskrcnn_benchmark.numerics import Normalizer
from maskrcnn_benchmark.structures.padded import PaddedTargets
from maskrcnn_benchmark.utils.old_names import old_names

# Old names, which live elsewhere now.
__getattr__ = old_names(
    __name__,
    {
        "RPNLossComputation": "maskrcnn_benchmark.modeling.rpn.boxlist_loss",
        "generate_rpn_labels": "maskrcnn_benchmark.modeling.rpn.boxlist_loss",
    },
)


class RPNLoss:
    """Matches anchors to targets, samples them, and scores the predictions of the sample."""

    def __init__(
        self,
        *,
        fg_iou_threshold: float = 0.7,
        bg_iou_threshold: float = 0.3,
        batch_size_per_image: int = 256,
        positive_fraction: float = 0.5,
        loss: BoxLossName = "smooth_l1",
        beta: float = 1.0 / 9,
        normalizer: Normalizer = "sampled",
        box_offset: float = 1.0,
    ) -> None:
        """Keep the numbers.

        Args:
            fg_iou_threshold: overlap from which an anchor is positive.
            bg_iou_threshold: overlap below which it is negative.
            batch_size_per_image: anchors sampled.
            positive_fraction: largest share of positives among them.
            loss: of the boxes.
            beta: of smooth L1, 0 for L1.
            normalizer: both losses are divided by the anchors in the sample, negatives included, or by the number
                wanted (`batch_size_per_image` of every image) even where there are fewer.
            box_offset: 1 for inclusive corners, 0 for continuous ones.
        """
        self.fg_iou_threshold = fg_iou_threshold
        self.bg_iou_threshold = bg_iou_threshold
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction
        self.loss = loss
        self.beta = beta
        self.normalizer = normalizer
        self.box_offset = box_offset

    def __call__(
        self,
        anchors: Tensor,
        visible: Tensor,
        objectness: Tensor,
        deltas: Tensor,
        targets: PaddedTargets,
        *,
        numbers: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Losses `loss_objectness` and `loss_rpn_box_reg`.

        Args:
            anchors: (A, 4).
            visible: (B, A) bool, which anchors may be sampled.
            objectness: (B, A) logits.
            deltas: (B, A, 4).
            targets: ground truth.
            numbers: (A,), what identifies each anchor in the draw (`AnchorGenerator.numbers`).
        """
        matches = match_boxes(
            targets.boxes,
            targets.valid,
            anchors,
            high_threshold=self.fg_iou_threshold,
            low_threshold=self.bg_iou_threshold,
            allow_low_quality=True,
            offset=self.box_offset,
        )
        labels = (matches >= 0).to(torch.int8)
        labels = torch.where(visible & (matches != BETWEEN_THRESHOLDS), labels, -1)
        index, valid = sample_labels(
            labels,
            targets.seeds,
            batch_size=self.batch_size_per_image,
            positive_fraction=self.positive_fraction,
            stream=ANCHOR_STREAM,
            numbers=numbers,
        )  # (B, S)
        positive = valid & (labels.gather(1, index) >= 1)
        logits = objectness.gather(1, index)
        per_anchor = F.binary_cross_entropy_with_logits(
            logits, positive.to(logits.dtype), reduction="none"
        )
        own = matches.gather(1, index).clamp(min=0)  # (B, S)
        loss_boxes = box_regression_loss(
            self.loss,
            deltas.gather(1, index[..., None].expand(-1, -1, 4)),
            anchors[index],
            targets.boxes.gather(1, own[..., None].expand(-1, -1, 4)),
            positive,
            weights=(1.0, 1.0, 1.0, 1.0),
            beta=self.beta,
            offset=self.box_offset,
        )
        count = self._count(valid)
        return {
            "loss_objectness": torch.where(valid, per_anchor, 0.0).sum() / count,
            "loss_rpn_box_reg": loss_boxes / count,
        }

    def _count(self, sampled: Tensor) -> Tensor | int:
        """What the losses of a sample (B, S) are divided by."""
        if self.normalizer == "wanted":
            return self.batch_size_per_image * sampled.shape[0]
        return sampled.sum().clamp(min=1)
