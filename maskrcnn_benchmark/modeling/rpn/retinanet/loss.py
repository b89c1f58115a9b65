"""Losses of RetinaNet: focal loss of the classes, a regression loss of the boxes, over all anchors.

B: images.    A: anchors over all levels, A_l of one.    C: classes without background.    G: targets, padded.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.layers.box_losses import BoxLossName, box_regression_loss
from maskrcnn_benchmark.layers.boxes import DeltaWeights
from maskrcnn_benchmark.layers.focal_loss import sigmoid_focal_loss
from maskrcnn_benchmark.layers.matching import BETWEEN_THRESHOLDS, match_boxes
from maskrcnn_benchmark.numerics import RetinaNetNormalizer
from maskrcnn_benchmark.structures.padded import PaddedTargets

# detectron2's moving average of the positives of a batch, and where it begins.
EMA_MOMENTUM = 0.9
EMA_START = 100.0


class RetinaNetLoss(nn.Module):
    """Matches every anchor, and scores the predictions of all but those between the thresholds."""

    positives_average: Tensor

    def __init__(
        self,
        *,
        fg_iou_threshold: float = 0.5,
        bg_iou_threshold: float = 0.4,
        gamma: float = 2.0,
        alpha: float = 0.25,
        box_loss: BoxLossName = "smooth_l1",
        beta: float = 0.11,
        box_divisor: float = 4.0,
        delta_weights: DeltaWeights = (10.0, 10.0, 5.0, 5.0),
        normalizer: RetinaNetNormalizer = "batch",
        box_offset: float = 1.0,
    ) -> None:
        """Keep the numbers.

        Args:
            fg_iou_threshold: overlap from which an anchor is an object; the best of each target always is.
            bg_iou_threshold: overlap below which it is background.
            gamma: of the focal loss.
            alpha: of the focal loss.
            box_loss: of the boxes.
            beta: of smooth L1, 0 for L1.
            box_divisor: with the normaliser `batch`, the box loss is divided by it, too.
            delta_weights: factors of the four deltas.
            normalizer: batch: the class loss is divided by the positives plus the images of the batch, the box loss by
                the positives (Detectron). ema: both by a moving average of the positives (detectron2). image: both by
                the positives of their own image, then averaged (torchvision).
            box_offset: 1 for inclusive corners, 0 for continuous ones.
        """
        super().__init__()
        self.fg_iou_threshold = fg_iou_threshold
        self.bg_iou_threshold = bg_iou_threshold
        self.gamma = gamma
        self.alpha = alpha
        self.box_loss = box_loss
        self.beta = beta
        self.box_divisor = box_divisor
        self.delta_weights = delta_weights
        self.normalizer = normalizer
        self.box_offset = box_offset
        # Not in checkpoints, as in detectron2: it has forgotten its start after some fifty updates.
        self.register_buffer("positives_average", torch.tensor(EMA_START), persistent=False)

    def forward(
        self,
        anchors: Tensor,
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        targets: PaddedTargets,
    ) -> dict[str, Tensor]:
        """Losses `loss_retina_cls` and `loss_retina_reg`.

        Args:
            anchors: (A, 4).
            logits: one (B, A_l, C) for each level.
            deltas: one (B, A_l, 4) for each level.
            targets: ground truth.
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
        own = matches.clamp(min=0)  # (B, A)
        positive = matches >= 0
        labels = torch.where(positive, targets.labels.gather(1, own), 0)
        labels = torch.where(matches == BETWEEN_THRESHOLDS, -1, labels)
        # Level by level: the logits of a batch are its largest tensor, and are not copied.
        sizes = [logit.shape[1] for logit in logits]
        per_level = [
            sigmoid_focal_loss(logit, label, gamma=self.gamma, alpha=self.alpha)
            for logit, label in zip(logits, labels.split(sizes, dim=1), strict=True)
        ]
        class_loss = torch.stack(per_level).sum(dim=0)  # (B,)
        box_loss = box_regression_loss(
            self.box_loss,
            torch.cat(list(deltas), dim=1),
            anchors.expand(labels.shape[0], -1, -1),
            targets.boxes.gather(1, own[..., None].expand(-1, -1, 4)),
            positive,
            weights=self.delta_weights,
            beta=self.beta,
            offset=self.box_offset,
            per_image=True,
        )  # (B,)
        return self._normalise(class_loss, box_loss, positive.sum(dim=1))

    def _normalise(
        self, class_loss: Tensor, box_loss: Tensor, positives: Tensor
    ) -> dict[str, Tensor]:
        """Sums (B,) and positives (B,) of each image -> the two losses."""
        if self.normalizer == "image":
            count = positives.clamp(min=1)
            classes, boxes = (class_loss / count).mean(), (box_loss / count).mean()
        elif self.normalizer == "ema":
            average = self._update_average(positives.sum())
            classes, boxes = class_loss.sum() / average, box_loss.sum() / average
        else:
            total = positives.sum()
            classes = class_loss.sum() / (total + positives.shape[0])
            boxes = box_loss.sum() / (total * self.box_divisor).clamp(min=1)
        return {"loss_retina_cls": classes, "loss_retina_reg": boxes}

    def _update_average(self, positives: Tensor) -> Tensor:
        average = EMA_MOMENTUM * self.positives_average + (1 - EMA_MOMENTUM) * positives.clamp(
            min=1
        )
        # Losses on validation images are computed without gradient, and must not move it.
        if torch.is_grad_enabled():
            self.positives_average.copy_(average)
        return average
