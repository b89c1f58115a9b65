"""What all detectors have in common: images and BoxLists in, BoxLists or losses out, padded tensors between.

B: images.    H, W: height and width of the padded batch.    A subclass adds the two networks that are compiled and
exported: `detect` and `compute_losses`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.modeling.backbone.backbone import Backbone
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList, to_image_list
from maskrcnn_benchmark.structures.padded import (
    PaddedDetections,
    PaddedTargets,
    Proposals,
    detections_to_boxlists,
    proposals_to_boxlists,
)


class Detector(nn.Module, ABC):
    """Images in; losses (training) or boxes (inference) out.

    Attributes:
        num_classes: background included; where it is known, labels of targets are checked.
    """

    num_classes: int | None = None

    def __init__(self, *, backbone: Backbone, size_divisible: int = 0) -> None:
        """Keep what every detector has.

        Args:
            backbone: images -> maps.
            size_divisible: height and width of a batch are padded to a multiple of it (32 for FPN).
        """
        super().__init__()
        self.backbone = backbone
        self.size_divisible = size_divisible

    @property
    def with_masks(self) -> bool:
        """Whether the model segments."""
        return False

    @property
    def with_keypoints(self) -> bool:
        """Whether the model finds keypoints."""
        return False

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
            Training: the scalars of `compute_losses`. Inference: boxes in network pixels with the fields that the model
            predicts: scores, labels, mask (n, 1, M, M) of a model that segments, keypoints (Keypoints) of one that
            finds them; objectness of a proposal network.

        Raises:
            ValueError: in training mode without targets.
            ShapeError: if there are not as many targets as images, or a target lacks a field.
            DatasetError: for a label of none of the classes.
        """
        batch = self.to_batch(images)
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
            return self.compute_losses(batch.tensors, sizes, self.pad_targets(targets, device))
        found = self.detect(batch.tensors, sizes)
        if isinstance(found, Proposals):
            return proposals_to_boxlists(found, batch.image_sizes)
        return detections_to_boxlists(found, batch.image_sizes)

    def pad_targets(self, targets: Sequence[BoxList], device: torch.device) -> PaddedTargets:
        """The ground truth of a batch, with the fields that the model trains on.

        Raises:
            ShapeError: if a target lacks a field.
            DatasetError: for a label of none of the classes.
        """
        return PaddedTargets.from_boxlists(
            targets,
            with_masks=self.with_masks,
            with_keypoints=self.with_keypoints,
            num_classes=self.num_classes,
            device=device,
        )

    @abstractmethod
    def detect(self, images: Tensor, image_sizes: Tensor) -> PaddedDetections | Proposals:
        """The whole network: a padded batch to padded detections (proposals, for a proposal network).

        Args:
            images: (B, 3, H, W), normalised, zeros as padding.
            image_sizes: (B, 2) float32 height and width without padding.
        """

    @abstractmethod
    def compute_losses(
        self, images: Tensor, image_sizes: Tensor, targets: PaddedTargets
    ) -> dict[str, Tensor]:
        """The whole network in training: a padded batch to losses by name.

        Args:
            images: (B, 3, H, W), normalised, zeros as padding.
            image_sizes: (B, 2) float32 height and width without padding.
            targets: ground truth.
        """

    def to_batch(self, images: ImageList | Tensor | Sequence[Tensor]) -> ImageList:
        """Pad to what the backbone needs; the old model left that to the loader and failed on odd sizes."""
        batch = to_image_list(images)
        divisor = self.size_divisible
        height, width = batch.tensors.shape[-2:]
        tensors = batch.tensors
        if divisor > 0 and (height % divisor or width % divisor):
            tensors = nn.functional.pad(tensors, (0, -width % divisor, 0, -height % divisor))
        return ImageList(tensors.contiguous(memory_format=torch.channels_last), batch.image_sizes)
