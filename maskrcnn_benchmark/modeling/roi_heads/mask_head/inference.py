"""Masks of regions -> masks of the image, on BoxLists; `layers.masks` has it on tensors.

n: boxes of an image.    M: side of a predicted mask.    H, W: height and width of the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.layers.masks import paste_masks
from maskrcnn_benchmark.numerics import PasteStyle
from maskrcnn_benchmark.structures.bounding_box import BoxList


class Masker:
    """Pastes predicted masks into their images."""

    def __init__(
        self, threshold: float = 0.5, padding: int = 1, *, style: PasteStyle = "integer"
    ) -> None:
        """Keep the numbers.

        Args:
            threshold: pixels above it (strictly) belong to the mask; below 0 for heat maps.
            padding: cells of zeros around a mask before it is resized.
            style: see `layers.masks.paste_window`; heat maps are always resized into whole pixels.
        """
        self.threshold = threshold
        self.padding = padding
        self.style = style

    def __call__(
        self, masks: Tensor | Sequence[Tensor], boxes: BoxList | Sequence[BoxList]
    ) -> list[Tensor]:
        """Paste the masks of every image.

        Args:
            masks: of each image (n, 1, M, M) probabilities, the field `mask` of a detection.
            boxes: of each image, or one BoxList.

        Returns:
            For each image what `forward_single_image` gives.

        Raises:
            ShapeError: if there are not as many masks as boxes.
        """
        if isinstance(boxes, BoxList):
            boxes = [boxes]
            masks = [masks] if isinstance(masks, Tensor) and masks.dim() == 4 else masks
        if len(boxes) != len(masks):
            raise ShapeError(
                f"Masker: expected masks for each of {len(boxes)} images, got {len(masks)}."
            )
        return [
            self.forward_single_image(mask, box) for mask, box in zip(masks, boxes, strict=True)
        ]

    def forward_single_image(self, masks: Tensor, boxes: BoxList) -> Tensor:
        """Paste the masks of one image.

        Args:
            masks: (n, 1, M, M) probabilities.
            boxes: n boxes.

        Returns:
            (n, 1, H, W) bool; with a threshold below 0 uint8, the probability times 255. Without boxes (0, 1, M, M).
        """
        if len(masks) != len(boxes):
            raise ShapeError(
                f"Masker: expected a mask for each of {len(boxes)} boxes, got {len(masks)}."
            )
        if not len(boxes):
            return masks.new_empty((0, 1, *masks.shape[-2:]), dtype=self._dtype)
        corners = boxes.convert("xyxy").bbox
        width, height = boxes.size
        if self.threshold < 0:
            maps = [
                self._heat_map(m, b, height, width)
                for m, b in zip(masks[:, 0], corners, strict=True)
            ]
            return torch.stack(maps)[:, None]
        return paste_masks(
            masks[:, 0],
            corners,
            height=height,
            width=width,
            threshold=self.threshold,
            padding=self.padding,
            style=self.style,
        )[:, None]

    @property
    def _dtype(self) -> torch.dtype:
        return torch.uint8 if self.threshold < 0 else torch.bool

    def _heat_map(self, mask: Tensor, box: Tensor, height: int, width: int) -> Tensor:
        """(H, W) uint8. Detectron: the old project meant this, but gave only whether the probability is not 0."""
        padded = F.pad(mask.float()[None, None], (self.padding,) * 4)
        grow = padded.shape[-1] / mask.shape[-1]
        center, half = (box[2:] + box[:2]) * 0.5, (box[2:] - box[:2]) * 0.5 * grow
        # .to(int64) truncates towards zero.
        x1, y1, x2, y2 = torch.cat((center - half, center + half)).to(torch.int64).tolist()
        size = (max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1))
        values = F.interpolate(padded, size=size, mode="bilinear", align_corners=False)[0, 0]
        result = mask.new_zeros((height, width), dtype=torch.uint8)
        top, left = max(y1, 0), max(x1, 0)
        bottom, right = min(y1 + size[0], height), min(x1 + size[1], width)
        if top < bottom and left < right:
            window = values[top - y1 : bottom - y1, left - x1 : right - x1]
            result[top:bottom, left:right] = (window * 255).to(torch.uint8)
        return result
