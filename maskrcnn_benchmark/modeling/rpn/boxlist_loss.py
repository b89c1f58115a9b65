"""The losses of the proposal network on lists of BoxLists, for old code that builds on them.

The network itself uses `loss.RPNLoss`, batched.

A: anchors of an image over all levels.    a: anchors per cell.    L: levels.    N: images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from maskrcnn_benchmark.modeling.balanced_positive_negative_sampler import (
    BalancedPositiveNegativeSampler,
)
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.matcher import Matcher
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxlist_ops import boxlist_iou, cat_boxlist

# Where the parabola of the smooth L1 loss meets the line.
_BETA = 1.0 / 9


def generate_rpn_labels(matched_targets: BoxList) -> Tensor:
    """1 for each anchor (A,) that has a target, else 0; from the field `matched_idxs`."""
    labels: Tensor = matched_targets.get_field("matched_idxs") >= 0
    return labels


class RPNLossComputation:
    """Matches anchors to targets, samples them, and scores the predictions of the sample."""

    def __init__(
        self,
        proposal_matcher: Matcher,
        fg_bg_sampler: BalancedPositiveNegativeSampler,
        box_coder: BoxCoder,
        generate_labels_func: Callable[[BoxList], Tensor] = generate_rpn_labels,
    ) -> None:
        """Take the parts.

        Args:
            proposal_matcher: overlaps -> the target of each anchor.
            fg_bg_sampler: labels -> the sample.
            box_coder: boxes -> deltas.
            generate_labels_func: matched targets (field `matched_idxs`) -> label of each anchor.
        """
        self.proposal_matcher = proposal_matcher
        self.fg_bg_sampler = fg_bg_sampler
        self.box_coder = box_coder
        self.generate_labels_func = generate_labels_func

    def match_targets_to_anchors(
        self, anchor: BoxList, target: BoxList, copied_fields: Sequence[str] = ()
    ) -> BoxList:
        """The target of each anchor (any target for those without one), with the field `matched_idxs` (A,).

        Args:
            anchor: of one image.
            target: of the image.
            copied_fields: of the target, to copy as well.
        """
        matched_idxs = self.proposal_matcher(boxlist_iou(target, anchor))
        # Anchors without a target take the first one; their label tells.
        matched = target.copy_with_fields(copied_fields)[matched_idxs.clamp(min=0)]
        matched.add_field("matched_idxs", matched_idxs)
        return matched

    def prepare_targets(
        self, anchors: Sequence[BoxList], targets: Sequence[BoxList]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Labels (A,) float32 and deltas (A, 4) of each image.

        Labels are what `generate_labels_func` says, 0 below the low threshold, -1 for anchors between the thresholds
        or that the field `visibility` excludes.
        """
        labels, deltas = [], []
        for anchor, target in zip(anchors, targets, strict=True):
            matched = self.match_targets_to_anchors(anchor, target)
            index = matched.get_field("matched_idxs")
            own = self.generate_labels_func(matched).to(torch.float32)
            own = torch.where(index == Matcher.BELOW_LOW_THRESHOLD, 0.0, own)
            if anchor.has_field("visibility"):
                own = torch.where(anchor.get_field("visibility").bool(), own, -1.0)
            labels.append(torch.where(index == Matcher.BETWEEN_THRESHOLDS, -1.0, own))
            deltas.append(
                self.box_coder.encode(matched.convert("xyxy").bbox, anchor.convert("xyxy").bbox)
            )
        return labels, deltas

    def __call__(
        self,
        anchors: Sequence[Sequence[BoxList]],
        objectness: Sequence[Tensor],
        box_regression: Sequence[Tensor],
        targets: Sequence[BoxList],
    ) -> tuple[Tensor, Tensor]:
        """Loss of the objectness and of the boxes.

        Args:
            anchors: N times L BoxLists.
            objectness: L times (N, a, H, W) logits.
            box_regression: L times (N, 4 * a, H, W).
            targets: N BoxLists.
        """
        labels, deltas = self.prepare_targets([cat_boxlist(each) for each in anchors], targets)
        positive, negative = (
            torch.cat(masks).nonzero().squeeze(1) for masks in self.fg_bg_sampler(labels)
        )
        sampled = torch.cat((positive, negative))
        logits = _flatten(objectness, 1).squeeze(1)
        predicted = _flatten(box_regression, 4)
        objectness_loss = F.binary_cross_entropy_with_logits(
            logits[sampled], torch.cat(labels)[sampled]
        )
        box_loss = F.smooth_l1_loss(
            predicted[positive], torch.cat(deltas)[positive], reduction="sum", beta=_BETA
        )
        # Detectron divides by all sampled anchors, negatives included.
        return objectness_loss, box_loss / max(sampled.numel(), 1)


def _flatten(maps: Sequence[Tensor], numbers: int) -> Tensor:
    """L times (N, a * numbers, H, W) -> (N * A, numbers) in the order of the anchors."""
    return torch.cat(
        [each.permute(0, 2, 3, 1).reshape(each.shape[0], -1, numbers) for each in maps], dim=1
    ).reshape(-1, numbers)
