"""Features of regions: RoIAlign from the pyramid level that fits each region's size.

B: images.    K: regions per image, padded.    R: rows that are computed.    C: channels.    S: output side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.layers.roi_align import assign_levels, pyramid_roi_align


class Rows(NamedTuple):
    """Which rows of a padded batch are computed.

    Compiled, exported and on a GPU all rows are, for the sake of fixed shapes without synchronisation; eagerly on a CPU
    only those that are real, since there padding would cost time.

    Attributes:
        chosen: (R,) int64 into the flattened batch, or None for all B * K.
        valid: (R,) bool, which of them are real.
    """

    chosen: Tensor | None
    valid: Tensor

    @classmethod
    def of(cls, valid: Tensor) -> Rows:
        """Choose the rows of a batch whose validity is (B, K)."""
        flat = valid.flatten()
        if torch.compiler.is_compiling() or flat.device.type != "cpu" or bool(flat.all()):
            return cls(None, flat)
        index = flat.nonzero().squeeze(1)
        return cls(index, flat[index])

    def take(self, values: Tensor) -> Tensor:
        """(B, K, ...) -> (R, ...)."""
        flat = values.flatten(0, 1)
        return flat if self.chosen is None else flat.index_select(0, self.chosen)

    def put(self, values: Tensor, shape: Sequence[int]) -> Tensor:
        """(R, ...) -> (B, K, ...) with zeros in the other rows."""
        flat = values
        if self.chosen is not None:
            flat = values.new_zeros((math.prod(shape), *values.shape[1:]))
            flat = flat.index_copy(0, self.chosen, values)
        return flat.view(*shape, *values.shape[1:])

    def positions(self, shape: Sequence[int]) -> Tensor:
        """Which row holds each slot of the padded batch, (B, K); 0 where none does."""
        if self.chosen is None:
            return torch.arange(self.valid.numel(), device=self.valid.device).view(tuple(shape))
        return self.put(torch.arange(self.chosen.numel(), device=self.chosen.device), shape)


class Pooler(nn.Module):
    """RoIAlign with one output size over one map or a pyramid (FPN, section 4.2)."""

    def __init__(
        self,
        *,
        output_size: int,
        scales: Sequence[float],
        sampling_ratio: int,
        aligned: bool = False,
        box_offset: float = 1.0,
    ) -> None:
        """Keep the numbers.

        Args:
            output_size: S.
            scales: image pixels to cells for each map, finest first (1/4, 1/8, ...). Maps beyond are ignored.
            sampling_ratio: samples per bin and axis; 0 for as many as the bin has cells.
            aligned: half-pixel shift (Detectron: no).
            box_offset: for the size that decides on the level.
        """
        super().__init__()
        self.output_size = output_size
        self.scales = [float(scale) for scale in scales]
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned
        self.box_offset = box_offset
        self.min_level = round(-math.log2(self.scales[0]))
        self.max_level = round(-math.log2(self.scales[-1]))

    def forward(self, features: Sequence[Tensor], boxes: Tensor, rows: Rows) -> Tensor:
        """Pool the rows that are computed.

        Args:
            features: maps (B, C, H, W), at least as many as scales.
            boxes: (B, K, 4) xyxy in image pixels.
            rows: see `Rows`; rows that are not valid give zeros.

        Returns:
            (R, C, S, S) float32.
        """
        batch, count = boxes.shape[:2]
        image = torch.arange(batch, device=boxes.device, dtype=torch.float32)
        image = image[:, None, None].expand(batch, count, 1)
        rois = rows.take(torch.cat((image, boxes.detach().float()), dim=2))  # (R, 5)
        levels = assign_levels(
            rois[:, 1:],
            min_level=self.min_level,
            max_level=self.max_level,
            offset=self.box_offset,
        )
        return pyramid_roi_align(
            list(features[: len(self.scales)]),
            rois,
            torch.where(rows.valid, levels, -1),
            scales=self.scales,
            output_size=self.output_size,
            sampling_ratio=self.sampling_ratio,
            aligned=self.aligned,
        )
