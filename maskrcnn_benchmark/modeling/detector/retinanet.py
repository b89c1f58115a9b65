"""One-stage detector: backbone and RetinaNet's head (Lin et al., 2017, arXiv:1708.02002).

B: images.    H, W: height and width of the padded batch.
"""

from __future__ import annotations

from torch import Tensor

from maskrcnn_benchmark.modeling.backbone.backbone import Backbone
from maskrcnn_benchmark.modeling.detector.detector import Detector
from maskrcnn_benchmark.modeling.rpn.retinanet import RetinaNetModule
from maskrcnn_benchmark.structures.padded import PaddedDetections, PaddedTargets


class RetinaNet(Detector):
    """Images in; losses (training) or boxes (inference) out."""

    def __init__(
        self, *, backbone: Backbone, rpn: RetinaNetModule, size_divisible: int = 32
    ) -> None:
        """Put the parts together.

        Args:
            backbone: images -> maps.
            rpn: maps -> detections; the name is that of the old checkpoints.
            size_divisible: height and width of a batch are padded to a multiple of it.
        """
        super().__init__(backbone=backbone, size_divisible=size_divisible)
        self.rpn = rpn

    def detect(self, images: Tensor, image_sizes: Tensor) -> PaddedDetections:
        """The whole network: a padded batch to padded detections.

        Args:
            images: (B, 3, H, W), normalised, zeros as padding.
            image_sizes: (B, 2) float32 height and width without padding.
        """
        detections: PaddedDetections = self.rpn(self.backbone(images), image_sizes)
        return detections

    def compute_losses(
        self, images: Tensor, image_sizes: Tensor, targets: PaddedTargets
    ) -> dict[str, Tensor]:
        """The whole network in training: a padded batch to loss_retina_cls and loss_retina_reg.

        Args:
            images: (B, 3, H, W), normalised, zeros as padding.
            image_sizes: (B, 2) float32 height and width without padding; anchors on the padding train, too.
            targets: ground truth.
        """
        return self.rpn.forward_training(self.backbone(images), targets)
