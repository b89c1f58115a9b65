"""Whether an exported detector finds what the network finds.

B: images.    D: detections of each image, padded.    M: side of a mask.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from maskrcnn_benchmark.build.data import build_transforms, image_format_of
from maskrcnn_benchmark.data.datasets.channels import size_of
from maskrcnn_benchmark.data.transforms.transforms import ToTensor
from maskrcnn_benchmark.modeling.detector.exported_detector import ExportedDetector
from maskrcnn_benchmark.predict.images import ImageSource, read_input
from maskrcnn_benchmark.predict.loading import LoadedModel
from maskrcnn_benchmark.structures.image_list import ImageList, to_image_list
from maskrcnn_benchmark.structures.padded import PaddedDetections, Proposals


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Largest differences that pass.

    Attributes:
        boxes: of a corner, in pixels of what the graph takes.
        scores: of a probability.
        mask_iou: least overlap of two masks at half their range.
        keypoints: of a place, in pixels, for 99 of 100 (two cells of a heat map may be as good as equal).
        unmatched: share of the detections that only one of the two found.
    """

    boxes: float = 0.05
    scores: float = 1e-3
    mask_iou: float = 0.99
    keypoints: float = 0.05
    unmatched: float = 0.0


# Where the graph resizes, up to five pixels in ten thousand differ from PIL's by one of 256 levels, which moves a
# detection as much as noise in the picture does.
RESIZED = Tolerance(boxes=5.0, scores=0.05, mask_iou=0.8, keypoints=5.0, unmatched=0.05)


@dataclass(kw_only=True)
class Differences:
    """The largest differences over some images.

    Attributes:
        images: how many were compared.
        detections: how many the network found.
        unmatched: how many only one of the two found, which rounding at the threshold of the scores, or at the end of a
            full list, cannot explain.
        boxes: see `Tolerance`.
        scores: likewise.
        mask_iou: likewise.
        keypoints: likewise, each one.
    """

    images: int = 0
    detections: int = 0
    unmatched: int = 0
    boxes: float = 0.0
    scores: float = 0.0
    mask_iou: float = 1.0
    keypoints: list[float] = field(default_factory=list)

    @property
    def keypoint_distance(self) -> float:
        """What 99 of 100 keypoints are within."""
        if not self.keypoints:
            return 0.0
        return float(torch.tensor(self.keypoints).quantile(0.99))

    def passes(self, tolerance: Tolerance) -> bool:
        """Whether nothing is beyond the tolerance."""
        return (
            self.unmatched <= tolerance.unmatched * self.detections
            and self.boxes <= tolerance.boxes
            and self.scores <= tolerance.scores
            and self.mask_iou >= tolerance.mask_iou
            and self.keypoint_distance <= tolerance.keypoints
        )


def verify(
    model: LoadedModel, exported: ExportedDetector, images: Sequence[ImageSource]
) -> Differences:
    """Run both on images, each alone and, where the graph allows it, some of them together.

    Args:
        model: what was exported, on the CPU.
        exported: the result.
        images: see `predict.images.read_input`.

    Returns:
        What is to be within `tolerance_of` the exported detector.

    Raises:
        DatasetError: if an image cannot be read.
    """
    differences = Differences()
    transforms = build_transforms(model.cfg, is_train=False)
    divisor = model.cfg.DATALOADER.SIZE_DIVISIBILITY
    limits: dict[str, Any] = {
        "tolerance": tolerance_of(exported),
        "threshold": _threshold_of(model),
    }
    tensors: list[Tensor] = []
    for source in images:
        image = read_input(source, image_format_of(model.cfg))
        tensor = transforms(image)
        expected = _detect(model.network, to_image_list([tensor], divisor))
        if exported.graph_input.kind == "image":
            found = _detect(exported, to_image_list([ToTensor()(image)[0] * 255]))
            width, height = size_of(image)
            expected = scale(expected, (width / tensor.shape[2], height / tensor.shape[1]))
        else:
            found = _detect(exported, to_image_list([tensor], divisor))
            tensors.append(tensor)
        compare(expected, found, differences, **limits)
    if len(tensors) > 1:
        batch = to_image_list(tensors[:3], divisor)
        compare(_detect(model.network, batch), _detect(exported, batch), differences, **limits)
    return differences


def tolerance_of(exported: ExportedDetector) -> Tolerance:
    """What a right file stays within."""
    return RESIZED if exported.graph_input.kind == "image" else Tolerance()


def _threshold_of(model: LoadedModel) -> float:
    """Score that a detection is above; below any score for a proposal network, which has none."""
    keys = model.cfg.MODEL
    if keys.RETINANET_ON:
        return float(keys.RETINANET.INFERENCE_TH)
    return -math.inf if keys.RPN_ONLY else float(keys.ROI_HEADS.SCORE_THRESH)


def make_images(sizes: Sequence[tuple[int, int]] = ((480, 640), (640, 426))) -> list[ImageSource]:
    """Pictures of coloured clouds, for models that have no pictures at hand, and a grey one.

    Args:
        sizes: (height, width) of each.
    """
    generator = torch.Generator().manual_seed(0)
    images: list[ImageSource] = []
    for height, width in sizes:
        clouds = torch.zeros(1, 3, height, width)
        for cells in (4, 16, 64):
            noise = torch.randn(1, 3, cells, cells, generator=generator)
            clouds += torch.nn.functional.interpolate(noise, size=(height, width), mode="bicubic")
        images.append((clouds[0] * 40 + 128).clamp(0, 255).byte().permute(1, 2, 0).numpy())
    height, width = sizes[0]
    images.append(torch.full((height, width, 3), 128, dtype=torch.uint8).numpy())
    return images


def scale(
    found: PaddedDetections | Proposals, ratio: tuple[float, float]
) -> PaddedDetections | Proposals:
    """Boxes and keypoints in the pixels of an image that is so many times as (wide, high)."""
    both = torch.tensor(ratio, dtype=torch.float32)
    moved = found._replace(boxes=found.boxes * both.repeat(2))
    if isinstance(moved, PaddedDetections) and moved.keypoints is not None:
        factors = torch.cat((both, torch.ones(1)))
        moved = moved._replace(keypoints=moved.keypoints * factors)
    return moved


def compare(
    expected: PaddedDetections | Proposals,
    found: PaddedDetections | Proposals,
    differences: Differences,
    *,
    tolerance: Tolerance = Tolerance(),
    threshold: float = -math.inf,
) -> None:
    """Add the differences of a batch.

    Detections are matched by label and place, not by rank, which a rounding error may change.

    Args:
        expected: of the network.
        found: of the exported detector.
        differences: are added to.
        tolerance: by so much of a score may the last of a full list, and one at the threshold, differ.
        threshold: score that detections are above.
    """
    capacity = expected.valid.shape[1]
    for image in range(expected.valid.shape[0]):
        ours, theirs = _rows(expected, image), _rows(found, image)
        differences.images += 1
        differences.detections += len(ours["boxes"])
        pairs = _match(ours, theirs)
        for mine, other in pairs:
            _add_pair(differences, ours, theirs, mine, other)
        for own, rows, others in (
            (ours, {mine for mine, _ in pairs}, theirs),
            (theirs, {other for _, other in pairs}, ours),
        ):
            limit = threshold
            if len(others["scores"]) == capacity:  # Its last one took the place.
                limit = max(limit, float(others["scores"].min()))
            lost = [score for row, score in enumerate(own["scores"].tolist()) if row not in rows]
            # So written that what is no number counts.
            differences.unmatched += sum(not score <= limit + tolerance.scores for score in lost)


def _add_pair(
    differences: Differences,
    ours: dict[str, Tensor],
    theirs: dict[str, Tensor],
    mine: int,
    other: int,
) -> None:
    def largest(name: str) -> float:
        return float((ours[name][mine] - theirs[name][other]).abs().max())

    differences.boxes = max(differences.boxes, largest("boxes"))
    differences.scores = max(differences.scores, largest("scores"))
    if "masks" in ours:
        one, two = ours["masks"][mine] > 0.5, theirs["masks"][other] > 0.5
        union = float((one | two).sum())
        iou = float((one & two).sum()) / union if union else 1.0
        differences.mask_iou = min(differences.mask_iou, iou)
    if "keypoints" in ours:
        away = ours["keypoints"][mine] - theirs["keypoints"][other]
        differences.keypoints += away[:, :2].norm(dim=1).tolist()


def _rows(found: PaddedDetections | Proposals, image: int) -> dict[str, Tensor]:
    """The real detections of an image, by field."""
    valid = found.valid[image]
    fields = {
        name: value[image][valid] for name, value in found._asdict().items() if value is not None
    }
    if isinstance(found, Proposals):
        fields["scores"] = fields.pop("objectness")
        fields["labels"] = torch.ones(len(fields["boxes"]), dtype=torch.int64)
    return fields


def _match(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> list[tuple[int, int]]:
    """Pairs of rows, nearest first; what is no number is near to nothing."""
    distance = (ours["boxes"][:, None] - theirs["boxes"][None]).abs().amax(dim=2)
    distance += (ours["scores"][:, None] - theirs["scores"][None]).abs() * 100
    distance[ours["labels"][:, None] != theirs["labels"][None]] = torch.inf
    distance[distance.isnan()] = torch.inf
    pairs = []
    while distance.numel() and distance.min() < 10:
        mine, other = divmod(int(distance.argmin()), distance.shape[1])
        pairs.append((mine, other))
        distance[mine] = torch.inf
        distance[:, other] = torch.inf
    return pairs


def _detect(detector: torch.nn.Module, batch: ImageList) -> PaddedDetections | Proposals:
    batch = detector.to_batch(batch)  # type: ignore[operator]
    sizes = torch.tensor(batch.image_sizes, dtype=torch.float32)
    with torch.inference_mode():
        found: PaddedDetections | Proposals = detector.detect(batch.tensors, sizes)  # type: ignore[operator]
    return found
