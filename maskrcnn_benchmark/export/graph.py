"""What is exported: a detector with its preprocessing, from a batch of images to plain tensors.

B: images.    H, W: height and width of the batch.    D: detections of each image, padded.    M: side of a mask.
P: keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.modeling.detector.detector import Detector
from maskrcnn_benchmark.structures.padded import Proposals

# tensor: what the network sees, (B, C, H, W) float32, normalised, padded with zeros;
# pixels: RGB 0-255 of any number type, resized and padded: normalisation is part of the graph.
InputKind = Literal["tensor", "pixels"]

INPUT_NAMES = ("images", "image_sizes")


class DetectionGraph(nn.Module):
    """A detector as a function from tensors to tensors."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        detector: Detector,
        *,
        input_kind: InputKind = "tensor",
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        to_bgr255: bool = True,
    ) -> None:
        """Wrap a detector.

        Args:
            detector: in evaluation mode.
            input_kind: what comes in.
            mean: of each channel, in the network's order and range.
            std: of each channel.
            to_bgr255: whether the network sees BGR 0-255, else RGB 0-1.
        """
        super().__init__()
        self.detector = detector
        self.input_kind = input_kind
        self.to_bgr255 = to_bgr255
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, images: Tensor, image_sizes: Tensor) -> tuple[Tensor, ...]:
        """Detections of a batch, best first.

        Args:
            images: (B, C, H, W), see `InputKind`; H and W a multiple of what the detector divides by.
            image_sizes: (B, 2) float32 height and width without padding.

        Returns:
            As `output_names` says: boxes (B, D, 4) xyxy in pixels of `images`, scores (B, D), labels (B, D) int64,
            num_detections (B,) int64; masks (B, D, M, M) probabilities; keypoints (B, D, P, 3) x, y and score. Rows
            beyond num_detections are zeros. A proposal network: boxes, scores, num_detections.
        """
        if self.input_kind == "pixels":
            images = self._normalise(images, image_sizes)
        found = self.detector.detect(images, image_sizes)
        count = found.valid.sum(dim=1)
        boxes = torch.where(found.valid[..., None], found.boxes, 0.0)
        if isinstance(found, Proposals):
            return boxes, torch.where(found.valid, found.objectness, 0.0), count
        outputs = [boxes, found.scores, found.labels, count]
        if found.masks is not None:
            outputs.append(found.masks)
        if found.keypoints is not None and found.keypoint_scores is not None:
            place = found.keypoints[..., :2]
            outputs.append(torch.cat((place, found.keypoint_scores[..., None]), dim=-1))
        return tuple(outputs)

    def output_names(self) -> list[str]:
        """Names of what `forward` returns."""
        if getattr(self.detector, "roi_heads", self) is None:
            return ["boxes", "scores", "num_detections"]
        names = ["boxes", "scores", "labels", "num_detections"]
        if self.detector.with_masks:
            names.append("masks")
        if self.detector.with_keypoints:
            names.append("keypoints")
        return names

    def _normalise(self, images: Tensor, image_sizes: Tensor) -> Tensor:
        """Pixels -> what the network sees, zero beyond each image's size."""
        images = images.to(torch.float32)
        images = images.flip(1) if self.to_bgr255 else images / 255
        images = (images - self.mean) / self.std
        y = torch.arange(images.shape[2], device=images.device)[None, :, None]
        x = torch.arange(images.shape[3], device=images.device)[None, None, :]
        inside = (y < image_sizes[:, 0, None, None]) & (x < image_sizes[:, 1, None, None])
        return torch.where(inside[:, None], images, 0.0)
