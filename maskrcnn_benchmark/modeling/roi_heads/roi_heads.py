"""The heads of a two-stage detector, one after the other: box, then mask.

B: images.    Names `box` and `mask` are those of the old checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from maskrcnn_benchmark.modeling.roi_heads.box_head.box_head import BoxHead
from maskrcnn_benchmark.modeling.roi_heads.mask_head.mask_head import MaskHead
from maskrcnn_benchmark.structures.padded import PaddedDetections, PaddedTargets, Proposals


class ROIHeads(nn.Module):
    """Box head and, if there is one, mask head."""

    def __init__(
        self, *, box: BoxHead, mask: MaskHead | None = None, share_box_features: bool = False
    ) -> None:
        """Put the heads together.

        Args:
            box: classifies and refines proposals.
            mask: segments detections.
            share_box_features: the mask head predicts from the box head's features (C4); its extractor then is the
                box head's own.
        """
        super().__init__()
        self.box = box
        if mask is not None:
            if share_box_features:
                mask.feature_extractor = box.feature_extractor
            self.mask: MaskHead | None = mask
        else:
            self.mask = None
        self.share_box_features = share_box_features and mask is not None

    def forward(
        self, features: Sequence[Tensor], proposals: Proposals, image_sizes: Tensor
    ) -> PaddedDetections:
        """Detections of every image.

        Args:
            features: maps of the backbone.
            proposals: regions.
            image_sizes: (B, 2) height and width without padding.
        """
        detections: PaddedDetections = self.box(features, proposals, image_sizes)
        if self.mask is None:
            return detections
        return detections._replace(masks=self.mask(features, detections))

    def forward_training(
        self, features: Sequence[Tensor], proposals: Proposals, targets: PaddedTargets
    ) -> dict[str, Tensor]:
        """Losses of the heads, in the order classifier, box, mask."""
        regions, (x, rows), losses = self.box.forward_training(features, proposals, targets)
        if self.mask is not None:
            shared = (x, rows.positions(regions.valid.shape)) if self.share_box_features else None
            losses["loss_mask"] = self.mask.forward_training(
                features,
                regions.positives(self.box.sampler.max_positives),
                targets,
                shared_features=shared,
            )
        return losses
