"""The heads of a two-stage detector, one after the other: box, then mask, then keypoints.

B: images.    Names `box`, `mask` and `keypoint` are those of the old checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from maskrcnn_benchmark.modeling.roi_heads.box_head.box_head import BoxHead
from maskrcnn_benchmark.modeling.roi_heads.cascade_head.cascade_head import CascadeHead
from maskrcnn_benchmark.modeling.roi_heads.keypoint_head.keypoint_head import KeypointHead
from maskrcnn_benchmark.modeling.roi_heads.mask_head.mask_head import MaskHead
from maskrcnn_benchmark.structures.padded import PaddedDetections, PaddedTargets, Proposals
from maskrcnn_benchmark.utils.old_names import old_names

# Old names, which live elsewhere now.
__getattr__ = old_names(
    __name__,
    {
        "CombinedROIHeads": "maskrcnn_benchmark.build.legacy.roi_heads",
        "build_roi_heads": "maskrcnn_benchmark.build.legacy.roi_heads",
    },
)


class ROIHeads(nn.Module):
    """Box head and, if there are any, mask head and keypoint head."""

    def __init__(
        self,
        *,
        box: BoxHead | CascadeHead,
        mask: MaskHead | None = None,
        keypoint: KeypointHead | None = None,
        share_box_features: bool = False,
        share_box_features_with_keypoints: bool = False,
    ) -> None:
        """Put the heads together.

        Args:
            box: classifies and refines proposals, in one stage or several.
            mask: segments detections.
            keypoint: finds the keypoints of detections.
            share_box_features: the mask head predicts from the box head's features (C4); its extractor then is the
                box head's own.
            share_box_features_with_keypoints: the same for the keypoint head.
        """
        super().__init__()
        self.box = box
        self.mask: MaskHead | None = mask
        self.keypoint: KeypointHead | None = keypoint
        self.share_box_features = share_box_features and mask is not None
        self.share_box_features_with_keypoints = (
            share_box_features_with_keypoints and keypoint is not None
        )
        if mask is not None and share_box_features:
            mask.feature_extractor = box.feature_extractor
        if keypoint is not None and share_box_features_with_keypoints:
            keypoint.feature_extractor = box.feature_extractor

    def forward(
        self, features: Sequence[Tensor], proposals: Proposals, image_sizes: Tensor
    ) -> PaddedDetections:
        """Detections of every image.

        Args:
            features: maps of the backbone.
            proposals: regions.
            image_sizes: (B, 2) height and width without padding.
        """
        features = _to_float32(features)
        detections: PaddedDetections = self.box(features, proposals, image_sizes)
        masks = keypoints = scores = None
        if self.mask is not None:
            masks = self.mask(features, detections)
        if self.keypoint is not None:
            keypoints, scores = self.keypoint(features, detections)
        # Not `_replace`, whose result torch 2.11 cannot return from a compiled graph.
        boxes = detections[:4]
        return PaddedDetections(*boxes, masks=masks, keypoints=keypoints, keypoint_scores=scores)

    def forward_training(
        self,
        features: Sequence[Tensor],
        proposals: Proposals,
        targets: PaddedTargets,
        image_sizes: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Losses of the heads, in the order classifier, box, mask, keypoints.

        Args:
            features: maps of the backbone.
            proposals: regions.
            targets: ground truth.
            image_sizes: (B, 2) height and width without padding; a cascade needs them.
        """
        features = _to_float32(features)
        regions, (x, rows), losses = self.box.forward_training(
            features, proposals, targets, image_sizes
        )
        positives = regions.positives(self.box.sampler.max_positives)
        shared = (x, rows.positions(regions.valid.shape))
        if self.mask is not None:
            losses["loss_mask"] = self.mask.forward_training(
                features,
                positives,
                targets,
                shared_features=shared if self.share_box_features else None,
            )
        if self.keypoint is not None:
            losses["loss_kp"] = self.keypoint.forward_training(
                features,
                positives,
                targets,
                shared_features=shared if self.share_box_features_with_keypoints else None,
            )
        return losses


def _to_float32(features: Sequence[Tensor]) -> list[Tensor]:
    """Maps as RoIAlign reads them, in mixed precision converted once for all heads."""
    return [feature.float() for feature in features]
