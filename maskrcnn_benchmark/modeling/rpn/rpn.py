"""Region proposal network (Faster R-CNN, arXiv:1506.01497, section 3) on one map or a pyramid.

B: images.    L: levels.    A: anchors over all levels, A_l of one.    K: proposals of each image, padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from maskrcnn_benchmark.layers.boxes import DeltaWeights, clip_boxes, decode_boxes, is_at_least
from maskrcnn_benchmark.layers.nms import nms_padded
from maskrcnn_benchmark.modeling.make_layers import initialise
from maskrcnn_benchmark.modeling.rpn.anchor_generator import AnchorGenerator
from maskrcnn_benchmark.modeling.rpn.loss import RPNLoss
from maskrcnn_benchmark.numerics import ProposalRank
from maskrcnn_benchmark.structures.padded import PaddedTargets, Proposals
from maskrcnn_benchmark.utils.old_calls import also_called
from maskrcnn_benchmark.utils.old_names import old_names

# Old names, which live elsewhere now.
__getattr__ = old_names(
    __name__,
    {
        "RPNHeadConvRegressor": "maskrcnn_benchmark.build.legacy.rpn",
        "RPNHeadFeatureSingleConv": "maskrcnn_benchmark.build.legacy.rpn",
        "RPNModule": "maskrcnn_benchmark.build.legacy.rpn",
        "build_rpn": "maskrcnn_benchmark.build.legacy.rpn",
    },
)

# Deltas of anchors are not scaled (Detectron).
ANCHOR_DELTA_WEIGHTS: DeltaWeights = (1.0, 1.0, 1.0, 1.0)


class RPNHead(nn.Module):
    """One 3x3 convolution or several, then objectness and box deltas of every anchor; shared by all levels."""

    @also_called("maskrcnn_benchmark.build.legacy.rpn:head_arguments")
    def __init__(self, *, in_channels: int, num_anchors: int, num_convs: int = 1) -> None:
        """Build.

        Args:
            in_channels: of the maps, and of the convolutions.
            num_anchors: per cell.
            num_convs: 3x3 convolutions; one is called `conv`, several `conv.0`, `conv.1`, ...
        """
        super().__init__()
        convs = [nn.Conv2d(in_channels, in_channels, 3, padding=1) for _ in range(num_convs)]
        self.conv = convs[0] if num_convs == 1 else nn.Sequential(*convs)
        self.cls_logits = nn.Conv2d(in_channels, num_anchors, 1)
        self.bbox_pred = nn.Conv2d(in_channels, num_anchors * 4, 1)
        for layer in (*convs, self.cls_logits, self.bbox_pred):
            initialise(layer, "normal")

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """L maps (B, C, H, W) -> L objectness (B, a, H, W) and L deltas (B, 4a, H, W)."""
        objectness, deltas = [], []
        for feature in features:
            hidden = feature
            for conv in self.conv if isinstance(self.conv, nn.Sequential) else (self.conv,):
                hidden = F.relu_(conv(hidden))
            objectness.append(self.cls_logits(hidden))
            deltas.append(self.bbox_pred(hidden))
        return objectness, deltas


@dataclass(frozen=True, kw_only=True)
class ProposalLimits:
    """How many proposals survive each step.

    Attributes:
        pre_nms: best anchors of each level that enter suppression.
        post_nms: best survivors of each level; 0 for no such limit.
        total: best of an image over all levels (one level: `post_nms` applies, where there is one).
        per_batch: take the best `total` over all images together (Detectron trained so).
    """

    pre_nms: int
    post_nms: int
    total: int
    per_batch: bool = False


class RPN(nn.Module):
    """Anchors, head, proposals and losses."""

    def __init__(
        self,
        *,
        anchor_generator: AnchorGenerator,
        head: nn.Module,
        loss: RPNLoss | None = None,
        train_limits: ProposalLimits = ProposalLimits(
            pre_nms=2000, post_nms=2000, total=2000, per_batch=True
        ),
        test_limits: ProposalLimits = ProposalLimits(pre_nms=1000, post_nms=1000, total=1000),
        nms_threshold: float = 0.7,
        nms_inclusive: bool = True,
        min_size: float = 0.0,
        ranked_by: ProposalRank = "probability",
        box_offset: float = 1.0,
    ) -> None:
        """Put the parts together.

        Args:
            anchor_generator: makes the anchors.
            head: maps -> objectness and deltas.
            loss: how it trains; the default is Faster R-CNN's.
            train_limits: in training.
            test_limits: in inference.
            nms_threshold: overlap beyond which the lesser proposal goes.
            nms_inclusive: whether the threshold itself suppresses.
            min_size: proposals narrower or lower than so many pixels are dropped.
            ranked_by: what the best are chosen by; in float32 the probability of a logit beyond 17 is 1.
            box_offset: 1 for inclusive corners, 0 for continuous ones.
        """
        super().__init__()
        self.anchor_generator = anchor_generator
        self.head = head
        self.loss = loss if loss is not None else RPNLoss(box_offset=box_offset)
        self.train_limits = train_limits
        self.test_limits = test_limits
        self.nms_threshold = nms_threshold
        self.nms_inclusive = nms_inclusive
        self.min_size = min_size
        self.ranked_by = ranked_by
        self.box_offset = box_offset

    def forward(self, features: Sequence[Tensor], image_sizes: Tensor) -> Proposals:
        """Proposals for inference.

        Args:
            features: L maps (B, C, H, W).
            image_sizes: (B, 2) height and width without padding.
        """
        objectness, deltas = self._predict(features)
        anchors = self.anchor_generator(features)
        return self.propose(anchors, objectness, deltas, image_sizes, self.test_limits)

    def forward_training(
        self,
        features: Sequence[Tensor],
        image_sizes: Tensor,
        targets: PaddedTargets,
        *,
        with_proposals: bool = True,
    ) -> tuple[Proposals | None, dict[str, Tensor]]:
        """Proposals (without gradient) and the losses `loss_objectness` and `loss_rpn_box_reg`."""
        objectness, deltas = self._predict(features)
        anchors = self.anchor_generator(features)
        proposals = None
        if with_proposals:
            with torch.no_grad():
                proposals = self.propose(
                    anchors, objectness, deltas, image_sizes, self.train_limits
                )
        flat_anchors = torch.cat(anchors)
        losses = self.loss(
            flat_anchors,
            self.anchor_generator.is_visible(flat_anchors, image_sizes),
            torch.cat(objectness, dim=1),
            torch.cat(deltas, dim=1),
            targets,
            numbers=self.anchor_generator.numbers(features),
        )
        return proposals, losses

    def propose(
        self,
        anchors: Sequence[Tensor],
        objectness: Sequence[Tensor],
        deltas: Sequence[Tensor],
        image_sizes: Tensor,
        limits: ProposalLimits,
    ) -> Proposals:
        """Decode the best anchors of every level and suppress within each level.

        Args:
            anchors: L times (A_l, 4).
            objectness: L times (B, A_l) logits.
            deltas: L times (B, A_l, 4).
            image_sizes: (B, 2).
            limits: how many survive.
        """
        boxes, scores, levels = [], [], []
        for level, (anchor, logit, delta) in enumerate(
            zip(anchors, objectness, deltas, strict=True)
        ):
            score = logit.sigmoid() if self.ranked_by == "probability" else logit
            best = score.topk(min(limits.pre_nms, logit.shape[1]), dim=1)
            index = best.indices
            chosen = delta.gather(1, index[..., None].expand(-1, -1, 4))
            boxes.append(
                decode_boxes(
                    chosen, anchor[index], weights=ANCHOR_DELTA_WEIGHTS, offset=self.box_offset
                )
            )
            scores.append(best.values)
            levels.append(torch.full_like(index, level))
        all_boxes = clip_boxes(torch.cat(boxes, dim=1), image_sizes, offset=self.box_offset)
        all_scores = torch.cat(scores, dim=1)
        several = len(anchors) > 1
        most = limits.total if several or not limits.post_nms else limits.post_nms
        index, valid = nms_padded(
            all_boxes,
            all_scores,
            groups=torch.cat(levels, dim=1),
            valid=is_at_least(all_boxes, self.min_size, offset=self.box_offset),
            iou_threshold=self.nms_threshold,
            max_output=min(most, all_scores.shape[1]),
            max_per_group=limits.post_nms,
            offset=self.box_offset,
            inclusive=self.nms_inclusive,
        )
        kept_scores = all_scores.gather(1, index)
        if self.ranked_by == "logit":
            kept_scores = kept_scores.sigmoid()
        kept_scores = torch.where(valid, kept_scores, -1.0)
        if limits.per_batch and several:
            valid = valid & _is_among_best(kept_scores, limits.total)
        kept_boxes = all_boxes.gather(1, index[..., None].expand(-1, -1, 4))
        return Proposals(kept_boxes, kept_scores.clamp(min=0), valid)

    def _predict(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Objectness (B, A_l) and deltas (B, A_l, 4) of each level, in the anchors' order, float32."""
        objectness, deltas = self.head(features)
        # (B, a * c, H, W) -> (B, H, W, a * c) -> (B, H * W * a [, c]).
        return (
            [o.permute(0, 2, 3, 1).flatten(1).float() for o in objectness],
            [d.permute(0, 2, 3, 1).flatten(1).float().unflatten(1, (-1, 4)) for d in deltas],
        )


def _is_among_best(scores: Tensor, total: int) -> Tensor:
    """Mask (B, K) of the best `total` scores of all images together."""
    if scores.numel() <= total:
        return torch.ones_like(scores, dtype=torch.bool)
    flat = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    # By an index and a number in brackets, torch would copy the number to a GPU and wait for it.
    return flat.index_fill_(0, scores.flatten().topk(total).indices, True).view_as(scores)
