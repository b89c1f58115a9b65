"""From class logits and box deltas to detections.

B: images.    K: proposals, D: detections of each image, padded.    C: classes, background included (label 0).
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskrcnn_benchmark.layers.boxes import DeltaWeights, clip_boxes, decode_boxes
from maskrcnn_benchmark.layers.nms import nms_padded
from maskrcnn_benchmark.structures.padded import PaddedDetections


class BoxPostProcessor:
    """Softmax, decoding, threshold, suppression within each class, the best so many."""

    def __init__(
        self,
        *,
        score_threshold: float = 0.05,
        nms_threshold: float = 0.5,
        nms_inclusive: bool = True,
        max_detections: int = 100,
        delta_weights: DeltaWeights = (10.0, 10.0, 5.0, 5.0),
        class_agnostic: bool = False,
        box_offset: float = 1.0,
    ) -> None:
        """Keep the numbers.

        Args:
            score_threshold: detections must score more (strictly).
            nms_threshold: overlap beyond which the lesser of two detections of a class goes.
            nms_inclusive: whether the threshold itself suppresses.
            max_detections: D; 0 or less for all there are.
            delta_weights: what the deltas were multiplied by in training.
            class_agnostic: one box for all classes.
            box_offset: 1 for inclusive corners, 0 for continuous ones.
        """
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.nms_inclusive = nms_inclusive
        self.max_detections = max_detections
        self.delta_weights = delta_weights
        self.class_agnostic = class_agnostic
        self.box_offset = box_offset

    def __call__(
        self, proposals: Tensor, valid: Tensor, logits: Tensor, deltas: Tensor, image_sizes: Tensor
    ) -> PaddedDetections:
        """Detections of a batch, without masks.

        Args:
            proposals: (B, K, 4).
            valid: (B, K) bool.
            logits: (B, K, C).
            deltas: (B, K, 4 * C), or (B, K, 8) if class-agnostic.
            image_sizes: (B, 2) height and width without padding.
        """
        count, classes = logits.shape[1], logits.shape[2]
        scores = logits.softmax(dim=-1)[..., 1:].flatten(1)  # (B, K * (C - 1))
        # Background has no box: its column is not decoded. Class-agnostic: the last box stands for every class.
        deltas = (
            deltas[..., -4:].repeat(1, 1, classes - 1) if self.class_agnostic else deltas[..., 4:]
        )
        boxes = decode_boxes(
            deltas, proposals, weights=self.delta_weights, offset=self.box_offset
        ).reshape(logits.shape[0], -1, 4)
        boxes = clip_boxes(boxes, image_sizes, offset=self.box_offset)
        labels = torch.arange(1, classes, device=logits.device).repeat(count).expand_as(scores)
        candidates = (scores > self.score_threshold) & valid.repeat_interleave(classes - 1, dim=1)
        index, kept = nms_padded(
            boxes,
            scores,
            groups=labels,
            valid=candidates,
            iou_threshold=self.nms_threshold,
            max_output=self.max_detections if self.max_detections > 0 else scores.shape[1],
            offset=self.box_offset,
            inclusive=self.nms_inclusive,
        )
        return PaddedDetections(
            boxes=boxes.gather(1, index[..., None].expand(-1, -1, 4)),
            scores=torch.where(kept, scores.gather(1, index), 0.0),
            labels=torch.where(kept, labels.gather(1, index), 0),
            valid=kept,
        )
