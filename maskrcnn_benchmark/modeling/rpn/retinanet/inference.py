"""From the class logits and box deltas of all anchors to detections.

B: images.    A_l: anchors of a level.    C: classes without background.    D: detections of each image, padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from maskrcnn_benchmark.layers.boxes import DeltaWeights, clip_boxes, decode_boxes
from maskrcnn_benchmark.layers.nms import nms_padded
from maskrcnn_benchmark.numerics import RetinaNetClip
from maskrcnn_benchmark.structures.padded import PaddedDetections


class RetinaNetPostProcessor:
    """The best scores of every level, decoding, suppression within each class, the best so many."""

    def __init__(
        self,
        *,
        score_threshold: float = 0.05,
        pre_nms: int = 1000,
        nms_threshold: float = 0.4,
        nms_inclusive: bool = True,
        max_detections: int = 100,
        delta_weights: DeltaWeights = (10.0, 10.0, 5.0, 5.0),
        clip: RetinaNetClip = "before_nms",
        drop_empty: bool = False,
        box_offset: float = 1.0,
    ) -> None:
        """Keep the numbers.

        Args:
            score_threshold: detections must score more (strictly).
            pre_nms: best (anchor, class) pairs of each level that are decoded.
            nms_threshold: overlap beyond which the lesser of two detections of a class goes.
            nms_inclusive: whether the threshold itself suppresses.
            max_detections: D; 0 or less for all there are.
            delta_weights: what the deltas were multiplied by in training.
            clip: when boxes are cut to the image.
            drop_empty: drop boxes that have no area once they are cut to the image.
            box_offset: 1 for inclusive corners, 0 for continuous ones.
        """
        self.score_threshold = score_threshold
        self.pre_nms = pre_nms
        self.nms_threshold = nms_threshold
        self.nms_inclusive = nms_inclusive
        self.max_detections = max_detections
        self.delta_weights = delta_weights
        self.clip = clip
        self.drop_empty = drop_empty
        self.box_offset = box_offset

    def __call__(
        self,
        anchors: Sequence[Tensor],
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        image_sizes: Tensor,
    ) -> PaddedDetections:
        """Detections of a batch.

        Args:
            anchors: one (A_l, 4) for each level.
            logits: one (B, A_l, C) for each level.
            deltas: one (B, A_l, 4) for each level.
            image_sizes: (B, 2) height and width without padding.
        """
        candidates = [
            self._candidates(*level) for level in zip(anchors, logits, deltas, strict=True)
        ]
        boxes, scores, labels = (torch.cat(parts, dim=1) for parts in zip(*candidates, strict=True))
        valid = scores > self.score_threshold
        if self.clip == "before_nms":
            boxes, valid = self._cut(boxes, valid, image_sizes)
        index, kept = nms_padded(
            boxes,
            scores,
            groups=labels,
            valid=valid,
            iou_threshold=self.nms_threshold,
            max_output=self.max_detections if self.max_detections > 0 else scores.shape[1],
            offset=self.box_offset,
            inclusive=self.nms_inclusive,
        )
        boxes = boxes.gather(1, index[..., None].expand(-1, -1, 4))
        if self.clip == "after_nms":
            boxes, kept = self._cut(boxes, kept, image_sizes)
        return PaddedDetections(
            boxes=boxes,
            scores=torch.where(kept, scores.gather(1, index), 0.0),
            labels=torch.where(kept, labels.gather(1, index), 0),
            valid=kept,
        )

    def _candidates(
        self, anchors: Tensor, logits: Tensor, deltas: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (B, K, 4), scores (B, K) and labels (B, K) of the best pairs of a level."""
        flat = logits.flatten(1)
        # The best logits are the best scores, and need no sigmoid of millions of others.
        best = flat.topk(_less(self.pre_nms, flat.shape[1]), dim=1)
        index = best.indices // logits.shape[2]
        boxes = decode_boxes(
            deltas.gather(1, index[..., None].expand(-1, -1, 4)),
            anchors[index],
            weights=self.delta_weights,
            offset=self.box_offset,
        )
        return boxes, best.values.float().sigmoid(), best.indices % logits.shape[2] + 1

    def _cut(self, boxes: Tensor, valid: Tensor, image_sizes: Tensor) -> tuple[Tensor, Tensor]:
        boxes = clip_boxes(boxes, image_sizes, offset=self.box_offset)
        if self.drop_empty:
            valid = valid & (boxes[..., 2:] - boxes[..., :2] + self.box_offset > 0).all(dim=-1)
        return boxes, valid


def _less(limit: int, size: Any) -> int:
    """The lesser of the two, where the size may be a symbol.

    There Python's `min` would tie an exported network to images for which it comes out the same way. torch 2.11 cannot
    compile `sym_min` of two plain numbers.
    """
    least = torch.sym_min(limit, size) if isinstance(size, torch.SymInt) else min(limit, size)
    return cast("int", least)
