"""The proposals that train the heads (Fast R-CNN, section 2.3).

B: images.    K: proposals, G: targets, S: sampled regions of each image, padded.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from maskrcnn_benchmark.layers.matching import BETWEEN_THRESHOLDS, match_boxes
from maskrcnn_benchmark.layers.sampling import ROI_STREAM, sample_labels
from maskrcnn_benchmark.structures.padded import PaddedTargets, Proposals

# Targets are numbered from here on, beyond any number of proposals.
_FIRST_TARGET = 1 << 31


class SampledRegions(NamedTuple):
    """Regions with what they should become, positives first.

    Attributes:
        boxes: (B, S, 4) xyxy.
        labels: (B, S) int64, 0 for background.
        targets: (B, S) int64, which target each belongs to (0 for background).
        target_boxes: (B, S, 4) box of that target.
        valid: (B, S) bool.
    """

    boxes: Tensor
    labels: Tensor
    targets: Tensor
    target_boxes: Tensor
    valid: Tensor

    def positives(self, most: int) -> SampledRegions:
        """Only the first `most` regions, valid where positive."""
        cut = SampledRegions(*(field[:, :most] for field in self))
        return cut._replace(valid=cut.valid & (cut.labels > 0))


class RegionSampler:
    """Adds the targets to the proposals, matches all to the targets, and samples."""

    def __init__(
        self,
        *,
        fg_iou_threshold: float = 0.5,
        bg_iou_threshold: float = 0.5,
        batch_size_per_image: int = 512,
        positive_fraction: float = 0.25,
        box_offset: float = 1.0,
    ) -> None:
        """Keep the numbers.

        Args:
            fg_iou_threshold: overlap from which a region is positive.
            bg_iou_threshold: overlap below which it is background; between the two it is not used.
            batch_size_per_image: S.
            positive_fraction: largest share of positives.
            box_offset: 1 for inclusive corners, 0 for continuous ones.
        """
        self.fg_iou_threshold = fg_iou_threshold
        self.bg_iou_threshold = bg_iou_threshold
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction
        self.box_offset = box_offset

    @property
    def max_positives(self) -> int:
        """So many positives there are at most in an image."""
        return int(self.batch_size_per_image * self.positive_fraction)

    @torch.no_grad()
    def __call__(self, proposals: Proposals, targets: PaddedTargets) -> SampledRegions:
        """Sample the regions of every image."""
        boxes = torch.cat((proposals.boxes, targets.boxes), dim=1)  # (B, K + G, 4)
        is_real = torch.cat((proposals.valid, targets.valid), dim=1)
        matches = match_boxes(
            targets.boxes,
            targets.valid,
            boxes,
            high_threshold=self.fg_iou_threshold,
            low_threshold=self.bg_iou_threshold,
            offset=self.box_offset,
        )
        own = matches.clamp(min=0)
        labels = torch.where(matches >= 0, targets.labels.gather(1, own), 0)
        usable = is_real & (matches != BETWEEN_THRESHOLDS)
        sample = sample_labels(
            torch.where(usable, labels, -1),
            targets.seeds,
            batch_size=self.batch_size_per_image,
            positive_fraction=self.positive_fraction,
            stream=ROI_STREAM,
            numbers=_numbers(proposals.valid.shape[1], targets.valid.shape[1], boxes.device),
        )
        chosen = own.gather(1, sample.indices)  # (B, S)
        return SampledRegions(
            boxes=_rows(boxes, sample.indices),
            labels=labels.gather(1, sample.indices),
            targets=chosen,
            target_boxes=_rows(targets.boxes, chosen),
            valid=sample.valid,
        )


def _numbers(proposals: int, targets: int, device: torch.device) -> Tensor:
    """What identifies proposals and targets in the draw: the one do not depend on the number of the other."""
    first = torch.arange(proposals, device=device)
    return torch.cat((first, _FIRST_TARGET + torch.arange(targets, device=device)))


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """(B, N, 4) and (B, S) -> (B, S, 4)."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))
