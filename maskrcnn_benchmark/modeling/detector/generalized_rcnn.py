"""Two-stage detector: backbone, proposals, heads (Faster, Mask and Keypoint R-CNN), or proposals alone.

B: images.    H, W: height and width of the padded batch.
"""

from __future__ import annotations

from torch import Tensor

from maskrcnn_benchmark.modeling.backbone.backbone import Backbone
from maskrcnn_benchmark.modeling.detector.detector import Detector
from maskrcnn_benchmark.modeling.roi_heads.roi_heads import ROIHeads
from maskrcnn_benchmark.modeling.rpn.rpn import RPN
from maskrcnn_benchmark.structures.padded import PaddedDetections, PaddedTargets, Proposals


class GeneralizedRCNN(Detector):
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
        super().__init__(backbone=backbone, size_divisible=size_divisible)
        self.rpn = rpn
        # The old model had an empty list here for proposal networks; neither has parameters.
        self.roi_heads: ROIHeads | None = roi_heads

    @property
    def with_masks(self) -> bool:
        """Whether the model segments."""
        return self.roi_heads is not None and self.roi_heads.mask is not None

    @property
    def with_keypoints(self) -> bool:
        """Whether the model finds keypoints."""
        return self.roi_heads is not None and self.roi_heads.keypoint is not None

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
            losses.update(
                self.roi_heads.forward_training(features, proposals, targets, image_sizes)
            )
        losses.update(proposal_losses)
        return losses
