"""Two-stage detector: backbone, proposals, heads (Faster R-CNN and Mask R-CNN), or proposals alone.

B: images.    H, W: height and width of the padded batch.    Everything between the two conversions is padded
tensors (`structures.padded`): `detect` and `compute_losses` are what is compiled and exported.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.modeling.backbone.backbone import Backbone
from maskrcnn_benchmark.modeling.roi_heads.roi_heads import ROIHeads
from maskrcnn_benchmark.modeling.rpn.rpn import RPN
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList, to_image_list
from maskrcnn_benchmark.structures.padded import (
    PaddedDetections,
    PaddedTargets,
    Proposals,
    detections_to_boxlists,
    proposals_to_boxlists,
)


class GeneralizedRCNN(nn.Module):
    """Images in; losses (training) or boxes (inference) out."""

    def __init__(
        self,
        *,
        backbone: Backbone,
        rpn: RPN,
        roi_heads: ROIHeads | None = None,
        size_divisible: int = 0,
    ) -> None:
        """Put the parts together.

        Args:
            backbone: images -> maps.
            rpn: maps -> proposals.
            roi_heads: maps and proposals -> detections; None for a proposal network.
            size_divisible: height and width of a batch are padded to a multiple of it (32 for FPN).
        """
        super().__init__()
        self.backbone = backbone
        self.rpn = rpn
        # The old model had an empty list here for proposal networks; neither has parameters.
        self.roi_heads: ROIHeads | None = roi_heads
        self.size_divisible = size_divisible

    @property
    def with_masks(self) -> bool:
        """Whether the model segments."""
        return self.roi_heads is not None and self.roi_heads.mask is not None

    def forward(
        self,
        images: ImageList | Tensor | Sequence[Tensor],
        targets: Sequence[BoxList] | None = None,
    ) -> dict[str, Tensor] | list[BoxList]:
        """Losses by name in training mode, otherwise one BoxList per image.

        Args:
            images: a batch, or normalised images (3, h, w) of any sizes.
            targets: one per image, in network pixels; required in training mode.

        Returns:
            Training: scalars loss_classifier, loss_box_reg, loss_mask, loss_objectness, loss_rpn_box_reg, those that
            the model has. Inference: boxes in network pixels with the fields scores, labels and, for a model that
            segments, mask (n, 1, M, M); objectness for a proposal network.

        Raises:
            ValueError: in training mode without targets.
            ShapeError: if there are not as many targets as images, or a target lacks a field.
        """
        batch = self._to_batch(images)
        device = batch.tensors.device
        sizes = torch.tensor(batch.image_sizes, dtype=torch.float32).to(device, non_blocking=True)
        if self.training:
            if targets is None:
                raise ValueError(
                    "In training mode, targets must be passed: model(images, targets)."
                )
            if len(targets) != len(batch.image_sizes):
                raise ShapeError(
                    f"expected one target for each of {len(batch.image_sizes)} images, got {len(targets)}."
                )
            padded = PaddedTargets.from_boxlists(targets, with_masks=self.with_masks, device=device)
            return self.compute_losses(batch.tensors, sizes, padded)
        found = self.detect(batch.tensors, sizes)
        if isinstance(found, Proposals):
            return proposals_to_boxlists(found, batch.image_sizes)
        return detections_to_boxlists(found, batch.image_sizes)

    def detect(self, images: Tensor, image_sizes: Tensor) -> PaddedDetections | Proposals:
        """The whole network: a padded batch to padded detections (proposals, for a proposal network).

        Args:
            images: (B, 3, H, W), normalised, zeros as padding.
            image_sizes: (B, 2) float32 height and width without padding.
        """
        features = self.backbone(images)
        proposals: Proposals = self.rpn(features, image_sizes)
        if self.roi_heads is None:
            return proposals
        detections: PaddedDetections = self.roi_heads(features, proposals, image_sizes)
        return detections

    def compute_losses(
        self, images: Tensor, image_sizes: Tensor, targets: PaddedTargets
    ) -> dict[str, Tensor]:
        """The whole network in training: a padded batch to losses by name.

        Args:
            images: (B, 3, H, W), normalised, zeros as padding.
            image_sizes: (B, 2) float32 height and width without padding.
            targets: ground truth.
        """
        features = self.backbone(images)
        proposals, proposal_losses = self.rpn.forward_training(
            features, image_sizes, targets, with_proposals=self.roi_heads is not None
        )
        losses: dict[str, Tensor] = {}
        if self.roi_heads is not None and proposals is not None:
            losses.update(self.roi_heads.forward_training(features, proposals, targets))
        losses.update(proposal_losses)
        return losses

    def _to_batch(self, images: ImageList | Tensor | Sequence[Tensor]) -> ImageList:
        """Pad to what the backbone needs; the old model left that to the loader and failed on odd sizes."""
        batch = to_image_list(images)
        divisor = self.size_divisible
        height, width = batch.tensors.shape[-2:]
        tensors = batch.tensors
        if divisor > 0 and (height % divisor or width % divisor):
            tensors = nn.functional.pad(tensors, (0, -width % divisor, 0, -height % divisor))
        return ImageList(tensors.contiguous(memory_format=torch.channels_last), batch.image_sizes)
