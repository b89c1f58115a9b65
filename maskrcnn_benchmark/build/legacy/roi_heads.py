"""The heads on regions with their old signatures: `forward(features, proposals, targets=None)`.

n: regions over all images.    D: features of a region.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.build import roi_heads as build
from maskrcnn_benchmark.build.mask_head import build_mask_head
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.layers.matching import match_boxes
from maskrcnn_benchmark.modeling.roi_heads.mask_head import MaskHead
from maskrcnn_benchmark.modeling.roi_heads.roi_heads import ROIHeads
from maskrcnn_benchmark.modeling.roi_heads.sampling import SampledRegions
from maskrcnn_benchmark.numerics import Numerics, get_numerics
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.padded import (
    PaddedDetections,
    PaddedTargets,
    detections_to_boxlists,
)
from maskrcnn_benchmark.structures.padded_boxes import (
    image_sizes_of,
    pad_boxes,
    pad_field,
    proposals_from_boxlists,
)
from maskrcnn_benchmark.structures.sizes import HeightWidth

_NO_TARGETS = "In training mode, targets must be passed: {}(features, proposals, targets)."


def build_roi_heads(cfg: Config, in_channels: int) -> Any:
    """All heads of the config; an empty list for RetinaNet and for proposal networks."""
    if cfg.MODEL.RETINANET_ON or cfg.MODEL.RPN_ONLY:
        return []
    return CombinedROIHeads(cfg, in_channels)


def build_roi_mask_head(cfg: Config, in_channels: int) -> nn.Module:
    """The mask head alone."""
    return ROIMaskHead(cfg, in_channels)


class CombinedROIHeads(ROIHeads):
    """Box head and those that follow, with the old `forward`."""

    def __init__(self, cfg: Config, in_channels: int) -> None:
        """Build what the config describes for maps of `in_channels`."""
        nn.Module.__init__(self)
        numerics = get_numerics(cfg.MODEL.NUMERICS)
        own = build.build_roi_heads(cfg, in_channels=in_channels, numerics=numerics)
        self.__dict__.update(own.__dict__)

    def forward(  # type: ignore[override]
        self,
        features: Sequence[Tensor],
        proposals: Sequence[BoxList],
        targets: Sequence[BoxList] | None = None,
    ) -> tuple[Tensor | None, list[BoxList], dict[str, Tensor]]:
        """Features, boxes and losses.

        Args:
            features: maps of the backbone.
            proposals: one per image.
            targets: one per image; required in training mode.

        Returns:
            Features (n, D, ...) of the box head's regions. Inference: detections with the fields of the model's own,
            and no losses. Training: the sampled proposals, with the field `labels`, and the losses.

        Raises:
            ValueError: in training mode without targets.
        """
        if self.training:
            return self._train(features, proposals, targets)
        sizes = image_sizes_of(proposals)
        padded = proposals_from_boxlists(proposals)
        with _outputs(self.box) as seen:
            found: PaddedDetections = super().forward(features, padded, sizes)
        return _real(seen, padded.valid), detections_to_boxlists(found, _sizes(proposals)), {}

    def _train(
        self,
        features: Sequence[Tensor],
        proposals: Sequence[BoxList],
        targets: Sequence[BoxList] | None,
    ) -> tuple[Tensor | None, list[BoxList], dict[str, Tensor]]:
        if targets is None:
            raise ValueError(_NO_TARGETS.format("roi_heads"))
        # The core adds the targets itself; those that the old proposal network appended are taken out again.
        proposals = [_without(p, t) for p, t in zip(proposals, targets, strict=True)]
        padded = proposals_from_boxlists(proposals)
        truth = PaddedTargets.from_boxlists(
            targets,
            with_masks=self.mask is not None,
            with_keypoints=self.keypoint is not None,
            device=features[0].device,
        )
        with _outputs(self.box) as seen:
            losses = self.forward_training(features, padded, truth, image_sizes_of(proposals))
        # The draw is a function of the targets' seeds: the same regions again.
        regions = self.box.sampler(padded, truth)
        sampled = []
        for image, (height, width) in enumerate(_sizes(proposals)):
            rows = regions.valid[image]
            boxlist = BoxList(regions.boxes[image][rows], (width, height))
            boxlist.add_field("labels", regions.labels[image][rows])
            sampled.append(boxlist)
        return _real(seen, regions.valid), sampled, losses


class ROIMaskHead(MaskHead):
    """The mask head with the old `forward`."""

    def __init__(self, cfg: Config, in_channels: int) -> None:
        """Build what the config describes for maps of `in_channels`."""
        nn.Module.__init__(self)
        numerics = get_numerics(cfg.MODEL.NUMERICS)
        self.__dict__.update(_own_mask_head(cfg, in_channels, numerics).__dict__)
        self.box_offset = numerics.box_offset
        self.fg_iou_threshold = cfg.MODEL.ROI_HEADS.FG_IOU_THRESHOLD
        self.bg_iou_threshold = cfg.MODEL.ROI_HEADS.BG_IOU_THRESHOLD

    def forward(  # type: ignore[override]
        self,
        features: Sequence[Tensor],
        proposals: Sequence[BoxList],
        targets: Sequence[BoxList] | None = None,
    ) -> tuple[Tensor | None, list[BoxList], dict[str, Tensor]]:
        """Features, boxes and losses.

        Args:
            features: maps of the backbone.
            proposals: one per image, with the field `labels`.
            targets: one per image with `labels` and `masks`; required in training mode.

        Returns:
            Features (n, D, S, S) of the regions. Inference: the proposals with the field `mask` (n, 1, M, M)
            probabilities, and no losses. Training: those with a label above 0, and `loss_mask`.

        Raises:
            ValueError: in training mode without targets.
        """
        if self.training:
            return self._train(features, proposals, targets)
        boxes, valid = pad_boxes(proposals)
        labels = pad_field(proposals, "labels", valid).long()
        scores = torch.zeros_like(valid, dtype=torch.float32)
        with _outputs(self) as seen:
            masks = super().forward(features, PaddedDetections(boxes, scores, labels, valid))
        result = []
        for image, boxlist in enumerate(proposals):
            with_mask = boxlist.copy_with_fields(boxlist.fields())
            with_mask.add_field("mask", masks[image][valid[image]][:, None])
            result.append(with_mask)
        return _real(seen, valid), result, {}

    def _train(
        self,
        features: Sequence[Tensor],
        proposals: Sequence[BoxList],
        targets: Sequence[BoxList] | None,
    ) -> tuple[Tensor | None, list[BoxList], dict[str, Tensor]]:
        if targets is None:
            raise ValueError(_NO_TARGETS.format("mask_head"))
        positives = [each[each.get_field("labels") > 0] for each in proposals]
        boxes, valid = pad_boxes(positives)
        truth = PaddedTargets.from_boxlists(targets, with_masks=True, device=boxes.device)
        matches = match_boxes(
            truth.boxes,
            truth.valid,
            boxes,
            high_threshold=self.fg_iou_threshold,
            low_threshold=self.bg_iou_threshold,
            offset=self.box_offset,
        ).clamp(min=0)
        regions = SampledRegions(
            boxes=boxes,
            labels=pad_field(positives, "labels", valid).long(),
            targets=matches,
            target_boxes=truth.boxes.gather(1, matches[..., None].expand(-1, -1, 4)),
            valid=valid,
        )
        with _outputs(self) as seen:
            loss = self.forward_training(features, regions, truth)
        return _real(seen, valid), positives, {"loss_mask": loss}


def _own_mask_head(cfg: Config, in_channels: int, numerics: Numerics) -> MaskHead:
    from maskrcnn_benchmark.build.box_head import build_box_head

    # A mask head that shares the box head's extractor needs one to be built.
    box = build_box_head(cfg, in_channels=in_channels, numerics=numerics)
    return build_mask_head(cfg, in_channels=in_channels, numerics=numerics, box=box)


def _sizes(boxlists: Sequence[BoxList]) -> list[HeightWidth]:
    return [HeightWidth(each.size[1], each.size[0]) for each in boxlists]


def _without(proposals: BoxList, target: BoxList) -> BoxList:
    """The proposals that are not, to the last bit, a box of the target; the target's seed comes along."""
    own, others = proposals.convert("xyxy").bbox, target.convert("xyxy").bbox
    same = (own[:, None] == others[None]).all(dim=2).any(dim=1)
    return proposals[~same]


@contextmanager
def _outputs(head: nn.Module) -> Iterator[list[Tensor]]:
    """What the head's feature extractor gives while the block runs."""
    seen: list[Tensor] = []
    extractor = getattr(head, "feature_extractor", None)
    if not isinstance(extractor, nn.Module):  # a cascade has several
        yield seen
        return
    hook = extractor.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    try:
        yield seen
    finally:
        hook.remove()


def _real(seen: Sequence[Tensor], valid: Tensor) -> Tensor | None:
    """Features of the real rows, of the first call; None where there was none."""
    if not seen:
        return None
    return seen[0][valid.flatten()] if len(seen[0]) == valid.numel() else seen[0]
