"""From class logits and box deltas to detections.

B: images.    K: proposals, D: detections of each image, padded.    C: classes, background included (label 0).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from maskrcnn_benchmark.layers.boxes import DeltaWeights, clip_boxes, decode_boxes, is_at_least
from maskrcnn_benchmark.layers.nms import nms_padded
from maskrcnn_benchmark.layers.soft_nms import NmsName, soft_nms_padded
from maskrcnn_benchmark.numerics import NON_EMPTY
from maskrcnn_benchmark.structures.padded import PaddedDetections
from maskrcnn_benchmark.utils.old_names import old_names

# Old names, which live elsewhere now.
__getattr__ = old_names(
    __name__,
    {
        "PostProcessor": "maskrcnn_benchmark.modeling.roi_heads.box_head.post_processor",
        "make_roi_box_post_processor": "maskrcnn_benchmark.build.legacy.box_head",
    },
)


class BoxCandidates(NamedTuple):
    """Every box of every class, before any is left out; N = K * (C - 1).

    Attributes:
        boxes: (B, N, 4) xyxy in network pixels, inside the image.
        scores: (B, N).
        labels: (B, N) int64, 1 or more.
        valid: (B, N) bool.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    valid: Tensor


class BoxPostProcessor:
    """Softmax, decoding, threshold, suppression within each class, the best so many."""

    def __init__(
        self,
        *,
        score_threshold: float = 0.05,
        nms_threshold: float = 0.5,
        nms_inclusive: bool = True,
        nms: NmsName = "hard",
        soft_nms_sigma: float = 0.5,
        min_size: float = 0.0,
        drop_empty: bool = False,
        max_detections: int = 100,
        delta_weights: DeltaWeights = (10.0, 10.0, 5.0, 5.0),
        class_agnostic: bool = False,
        box_offset: float = 1.0,
    ) -> None:
        """Keep the numbers.

        Args:
            score_threshold: detections must score more (strictly), after soft suppression too.
            nms_threshold: overlap beyond which the lesser of two detections of a class goes.
            nms_inclusive: whether the threshold itself suppresses.
            nms: hard, or soft_linear or soft_gaussian, which lower scores instead (`layers.soft_nms`).
            soft_nms_sigma: width of soft_gaussian.
            min_size: detections narrower or lower than so many pixels are dropped before suppression.
            drop_empty: drop those without width or height after it: they count among the `max_detections`.
            max_detections: D; 0 or less for all there are.
            delta_weights: what the deltas were multiplied by in training.
            class_agnostic: one box for all classes.
            box_offset: 1 for inclusive corners, 0 for continuous ones.
        """
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.nms_inclusive = nms_inclusive
        self.nms = nms
        self.soft_nms_sigma = soft_nms_sigma
        self.min_size = min_size
        self.drop_empty = drop_empty
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
        return self.select(proposals, valid, logits.softmax(dim=-1), deltas, image_sizes)

    def select(
        self, proposals: Tensor, valid: Tensor, scores: Tensor, deltas: Tensor, image_sizes: Tensor
    ) -> PaddedDetections:
        """The same from probabilities (B, K, C) instead of logits."""
        return self.filter(self.candidates(proposals, valid, scores, deltas, image_sizes))

    def candidates(
        self, proposals: Tensor, valid: Tensor, scores: Tensor, deltas: Tensor, image_sizes: Tensor
    ) -> BoxCandidates:
        """The first half of `select`: all boxes."""
        count, classes = scores.shape[1], scores.shape[2]
        boxes = clip_boxes(
            self.decode(proposals, deltas, classes), image_sizes, offset=self.box_offset
        )
        scores = scores[..., 1:].flatten(1)  # (B, K * (C - 1))
        labels = torch.arange(1, classes, device=scores.device).repeat(count).expand_as(scores)
        return BoxCandidates(boxes, scores, labels, valid.repeat_interleave(classes - 1, dim=1))

    def filter(self, candidates: BoxCandidates) -> PaddedDetections:
        """The second half of `select`: threshold, suppression within each class, the best so many."""
        boxes, scores, labels, valid = candidates
        wanted = (scores > self.score_threshold) & valid
        if self.min_size > 0:
            wanted = wanted & is_at_least(boxes, self.min_size, offset=self.box_offset)
        index, scores, kept = self._suppress(boxes, scores, labels, wanted)
        boxes = boxes.gather(1, index[..., None].expand(-1, -1, 4))
        if self.drop_empty:
            kept = kept & is_at_least(boxes, NON_EMPTY, offset=self.box_offset)
        return PaddedDetections(
            boxes=boxes,
            scores=torch.where(kept, scores, 0.0),
            labels=torch.where(kept, labels.gather(1, index), 0),
            valid=kept,
        )

    def decode(self, proposals: Tensor, deltas: Tensor, classes: int) -> Tensor:
        """The box of every class but background: (B, K, 4), (B, K, 4 * C or 8) -> (B, K * (C - 1), 4), not clipped."""
        # Background has no box: its column is not decoded. Class-agnostic: the last box stands for every class.
        deltas = (
            deltas[..., -4:].repeat(1, 1, classes - 1) if self.class_agnostic else deltas[..., 4:]
        )
        boxes = decode_boxes(deltas, proposals, weights=self.delta_weights, offset=self.box_offset)
        return boxes.reshape(boxes.shape[0], -1, 4)

    def _suppress(
        self, boxes: Tensor, scores: Tensor, labels: Tensor, candidates: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Indices, scores and validity of the survivors, each (B, D)."""
        most = self.max_detections if self.max_detections > 0 else scores.shape[1]
        if self.nms != "hard":
            return soft_nms_padded(
                boxes,
                scores,
                groups=labels,
                valid=candidates,
                method=self.nms,
                iou_threshold=self.nms_threshold,
                sigma=self.soft_nms_sigma,
                score_threshold=self.score_threshold,
                max_output=most,
                offset=self.box_offset,
            )
        index, kept = nms_padded(
            boxes,
            scores,
            groups=labels,
            valid=candidates,
            iou_threshold=self.nms_threshold,
            max_output=most,
            offset=self.box_offset,
            inclusive=self.nms_inclusive,
        )
        return index, scores.gather(1, index), kept
