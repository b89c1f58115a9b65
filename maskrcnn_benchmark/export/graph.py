"""What is exported: a detector with its normalisation, from a batch of images to plain tensors.

B: images.    C: channels.    H, W: height and width of the batch.    D: detections of each image, padded.
M: side of a mask.    P: keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.modeling.detector.detector import Detector
from maskrcnn_benchmark.structures.padded import PaddedDetections, Proposals

INPUT_NAMES = ("images", "image_sizes")


class DetectionGraph(nn.Module):
    """A detector as a function from tensors to tensors."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        detector: Detector,
        *,
        takes_pixels: bool = False,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        to_bgr255: bool = True,
    ) -> None:
        """Wrap a detector.

        Args:
            detector: in evaluation mode.
            takes_pixels: whether RGB 0-255 comes in, rather than what the network sees.
            mean: of each channel, in the network's order and range; for pixels.
            std: of each channel; for pixels.
            to_bgr255: whether the network sees BGR 0-255, else RGB 0-1; for pixels.
        """
        super().__init__()
        self.detector = detector
        self.takes_pixels = takes_pixels
        self.to_bgr255 = to_bgr255
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, images: Tensor, image_sizes: Tensor) -> tuple[Tensor, ...]:
        """Detections of a batch, best first.

        Args:
            images: (B, C, H, W) float32, padded at the right and bottom; H and W multiples of what the detector divides
                by. The network's normalised input with zeros as padding, or pixels, whose padding may be anything.
            image_sizes: (B, 2) float32 height and width without padding.

        Returns:
            As `output_names` says: boxes (B, D, 4) xyxy in pixels of `images`, scores (B, D), labels (B, D) int64,
            num_detections (B,) int64; masks (B, D, M, M) probabilities; keypoints (B, D, P, 3) x, y and score. Boxes,
            scores and labels beyond num_detections are zeros. A proposal network: boxes, scores, num_detections.
        """
        if self.takes_pixels:
            images = self._normalise(images, image_sizes)
        found = self.detector.detect(images, image_sizes)
        count = found.valid.sum(dim=1)
        if isinstance(found, Proposals):
            boxes = torch.where(found.valid[..., None], found.boxes, 0.0)
            return boxes, torch.where(found.valid, found.objectness, 0.0), count
        found = _without_gaps(found)
        boxes = torch.where(found.valid[..., None], found.boxes, 0.0)
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
        images = images.flip(1) if self.to_bgr255 else images / 255
        images = (images - self.mean) / self.std
        y = torch.arange(images.shape[2], device=images.device)[None, :, None]
        x = torch.arange(images.shape[3], device=images.device)[None, None, :]
        inside = (y < image_sizes[:, 0, None, None]) & (x < image_sizes[:, 1, None, None])
        return torch.where(inside[:, None], images, 0.0)


def _without_gaps(found: PaddedDetections) -> PaddedDetections:
    """Real detections before padding, in their order: some profiles drop a few after they are ranked."""
    count = found.valid.shape[1]
    place = torch.arange(count, device=found.valid.device)
    order = torch.where(found.valid, place, place + count).sort(dim=1).indices  # (B, D)
    rows = torch.arange(found.valid.shape[0], device=order.device)[:, None]
    fields = {
        name: value[rows, order] for name, value in found._asdict().items() if value is not None
    }
    return PaddedDetections(**fields)
