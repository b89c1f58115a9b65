"""Features of regions: RoIAlign or RoIPool from the pyramid level that fits each region's size.

B: images.    K: regions per image, padded.    R: rows that are computed.    C: channels.    S: output side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.roi_align import assign_levels, pyramid_roi_align
from maskrcnn_benchmark.layers.roi_pool import pyramid_roi_pool
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.padded_boxes import pad_boxes
from maskrcnn_benchmark.utils.old_calls import also_called
from maskrcnn_benchmark.utils.old_names import old_names

PoolerKind = Literal["ROIAlign", "ROIPool"]

__getattr__ = old_names(__name__, {"make_pooler": "maskrcnn_benchmark.build.legacy.box_head"})


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

    @property
    def padded(self) -> Tensor | None:
        """`valid` if there may be padding among the rows, else None: what `layers.row_norm` takes."""
        fixed = torch.compiler.is_compiling() or self.valid.device.type != "cpu"
        if self.chosen is None and (fixed or not bool(self.valid.all())):
            return self.valid
        return None

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


def on_boxlists(part: Callable[..., Tensor], features: Sequence[Tensor], boxlists: Any) -> Tensor:
    """Call a part that takes (maps, boxes, rows) with one BoxList per image.

    Returns:
        (n, ...), the n boxes in their order, images one after the other; channels first in memory, since old code
        flattens with `view`.
    """
    boxes, valid = pad_boxes(boxlists)
    rows = Rows.of(valid)
    x = part(features, boxes, rows)
    return (x[rows.valid] if rows.chosen is None else x).contiguous()


def _old_arguments(
    output_size: Sequence[int], scales: Sequence[float], sampling_ratio: int
) -> dict[str, Any]:
    return {"output_size": output_size, "scales": scales, "sampling_ratio": sampling_ratio}


def _one_side(output_size: int | Sequence[int]) -> int:
    if isinstance(output_size, int):
        return output_size
    height, width = output_size
    if height != width:
        raise ConfigError(f"Pooler: expected a square output, got {height} x {width}.")
    return height


class Pooler(nn.Module):
    """RoIAlign or RoIPool with one output size over one map or a pyramid (FPN, section 4.2)."""

    @also_called(_old_arguments)
    def __init__(
        self,
        *,
        output_size: int | Sequence[int],
        scales: Sequence[float],
        sampling_ratio: int,
        aligned: bool = False,
        box_offset: float = 1.0,
        kind: PoolerKind = "ROIAlign",
        level_eps: float = 1e-6,
    ) -> None:
        """Keep the numbers.

        Args:
            output_size: S, or (S, S).
            scales: image pixels to cells for each map, finest first (1/4, 1/8, ...). Maps beyond are ignored.
            sampling_ratio: samples per bin and axis; 0 for as many as the bin has cells.
            aligned: half-pixel shift (Detectron: no).
            box_offset: for the size that decides on the level.
            kind: ROIAlign, or ROIPool, for which `sampling_ratio` and `aligned` have no meaning.
            level_eps: guard for sizes on the border between two levels.

        Raises:
            ConfigError: for another kind, or sides that differ.
        """
        super().__init__()
        if kind not in ("ROIAlign", "ROIPool"):
            raise ConfigError(f"POOLER_TYPE: expected ROIAlign or ROIPool, got {kind!r}.")
        self.output_size = _one_side(output_size)
        self.scales = [float(scale) for scale in scales]
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned
        self.box_offset = box_offset
        self.kind = kind
        self.level_eps = level_eps
        self.min_level = round(-math.log2(self.scales[0]))
        self.max_level = round(-math.log2(self.scales[-1]))

    def forward(
        self,
        features: Sequence[Tensor],
        boxes: Tensor | Sequence[BoxList],
        rows: Rows | None = None,
    ) -> Tensor:
        """Pool the rows that are computed.

        Args:
            features: maps (B, C, H, W), at least as many as scales.
            boxes: (B, K, 4) xyxy in image pixels; in the old form of the call one BoxList per image, and no `rows`.
            rows: see `Rows`; rows that are not valid give zeros.

        Returns:
            (R, C, S, S) float32; in mixed precision of the lower type, which all layers would bring it to.
        """
        if rows is None or not isinstance(boxes, Tensor):
            return on_boxlists(self, features, boxes)
        batch, count = boxes.shape[:2]
        image = torch.arange(batch, device=boxes.device, dtype=torch.float32)
        image = image[:, None, None].expand(batch, count, 1)
        rois = rows.take(torch.cat((image, boxes.detach().float()), dim=2))  # (R, 5)
        levels = assign_levels(
            rois[:, 1:],
            min_level=self.min_level,
            max_level=self.max_level,
            offset=self.box_offset,
            eps=self.level_eps,
        )
        levels = torch.where(rows.valid, levels, -1)
        maps = list(features[: len(self.scales)])
        if self.kind == "ROIPool":
            pooled = pyramid_roi_pool(
                maps, rois, levels, scales=self.scales, output_size=self.output_size
            )
        else:
            pooled = pyramid_roi_align(
                maps,
                rois,
                levels,
                scales=self.scales,
                output_size=self.output_size,
                sampling_ratio=self.sampling_ratio,
                aligned=self.aligned,
            )
        device = pooled.device.type
        return (
            pooled.to(torch.get_autocast_dtype(device))
            if torch.is_autocast_enabled(device)
            else pooled
        )


class LevelMapper:
    """Pyramid level of each box of a list of BoxLists (FPN, equation 1), as old code calls it."""

    def __init__(
        self,
        k_min: int,
        k_max: int,
        canonical_scale: float = 224,
        canonical_level: int = 4,
        eps: float = 1e-6,
    ) -> None:
        """Keep the numbers.

        Args:
            k_min: level of the finest map (2 for stride 4).
            k_max: level of the coarsest.
            canonical_scale: side in pixels of a box that belongs to `canonical_level`.
            canonical_level: see above.
            eps: guard for sizes on the border between two levels.
        """
        self.k_min = k_min
        self.k_max = k_max
        self.canonical_scale = canonical_scale
        self.canonical_level = canonical_level
        self.eps = eps

    def __call__(self, boxlists: Sequence[BoxList]) -> Tensor:
        """Levels (n,) int64 of the n boxes of all images, counted from `k_min` = 0."""
        return assign_levels(
            torch.cat([each.convert("xyxy").bbox for each in boxlists]),
            min_level=self.k_min,
            max_level=self.k_max,
            canonical_size=self.canonical_scale,
            canonical_level=self.canonical_level,
            eps=self.eps,
        )
