"""What a lower precision, a compiler or an export does to the detections of a trained model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from pycocotools import mask as mask_utils

from maskrcnn_benchmark.layers.pairing import pair_by_overlap
from maskrcnn_benchmark.predict.predictor import Predictor
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.masks import RLE, area_of

# Boxes of one class that overlap less are two objects.
_SAME = 0.5


@dataclass(kw_only=True)
class Agreement:
    """How two models differ over some images.

    Attributes:
        images: how many.
        detections: of the first model.
        only_first: what the second did not find.
        only_second: what the first did not find.
        boxes: largest difference of a corner in pixels of the image, of each pair.
        scores: difference of the scores of each pair.
        mask_ious: overlap of the masks of each pair.
    """

    images: int = 0
    detections: int = 0
    only_first: int = 0
    only_second: int = 0
    boxes: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    mask_ious: list[float] = field(default_factory=list)

    def add(self, first: Detections, second: Detections) -> None:
        """Count what both found in an image."""
        pairs = match(first, second)
        self.images += 1
        self.detections += len(first)
        self.only_first += len(first) - len(pairs)
        self.only_second += len(second) - len(pairs)
        for one, two in pairs:
            self.boxes.append(float(np.abs(first.boxes[one] - second.boxes[two]).max()))
            self.scores.append(abs(float(first.scores[one]) - float(second.scores[two])))
            if first.masks is not None and second.masks is not None:
                self.mask_ious.append(_mask_iou(first.masks[one], second.masks[two]))


def _mask_iou(one: RLE, two: RLE) -> float:
    """1 for two masks without a pixel."""
    if not area_of(one) and not area_of(two):
        return 1.0
    return float(mask_utils.iou([one], [two], [0])[0, 0])


def match(first: Detections, second: Detections) -> list[tuple[int, int]]:
    """Pairs of rows of the same class; see `pair_by_overlap`."""
    return pair_by_overlap(
        torch.as_tensor(first.boxes),
        torch.as_tensor(first.labels),
        torch.as_tensor(second.boxes),
        torch.as_tensor(second.labels),
        min_iou=_SAME,
        offset=first.box_offset,
    )


def compare(first: Predictor, second: Predictor, images: Iterable[Path]) -> Agreement:
    """Run two models on images.

    Raises:
        DatasetError: if an image cannot be read.
    """
    agreement = Agreement()
    for image in images:
        agreement.add(first(image), second(image))
    return agreement
