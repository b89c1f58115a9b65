"""Anchors: boxes of fixed sizes and shapes around every cell of every feature map.

L: levels.    A: anchors over all cells and levels.    a: anchors per cell.    Aspect ratio = height / width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from maskrcnn_benchmark.errors import ConfigError


def make_cell_anchors(
    *, stride: int, sizes: Sequence[float], aspect_ratios: Sequence[float], round_base: bool = True
) -> Tensor:
    """Anchors around the cell at the origin, as Detectron made them.

    Each ratio reshapes the window (0, 0, stride - 1, stride - 1) at equal area, its sides rounded to whole pixels;
    each size then scales it. Corners are inclusive.

    Args:
        stride: pixels per cell.
        sizes: side in pixels of the square anchor.
        aspect_ratios: height / width.
        round_base: whether the reshaped window is rounded.

    Returns:
        (len(aspect_ratios) * len(sizes), 4) float32, ratios outer, sizes inner.
    """
    center = 0.5 * (stride - 1)
    anchors = []
    for ratio in aspect_ratios:
        width = np.sqrt(stride * stride / ratio)
        width = np.round(width) if round_base else width
        height = np.round(width * ratio) if round_base else width * ratio
        for size in sizes:
            half = 0.5 * (np.array([width, height]) * (size / stride) - 1)
            anchors.append(np.concatenate((center - half, center + half)))
    return torch.tensor(np.stack(anchors), dtype=torch.float32)


class CellAnchors(nn.Module):
    """The anchors of each level's cell as buffers `0`, `1`, ...: they travel in checkpoints."""

    def __init__(self, anchors: Sequence[Tensor]) -> None:
        """Take (a, 4) for every level."""
        super().__init__()
        for level, cell in enumerate(anchors):
            self.register_buffer(str(level), cell)

    def __len__(self) -> int:
        return len(self._buffers)

    def __getitem__(self, level: int) -> Tensor:
        return self.get_buffer(str(level))


class AnchorGenerator(nn.Module):
    """Lays the cell anchors over feature maps."""

    def __init__(
        self,
        *,
        sizes: Sequence[float | Sequence[float]] = (32, 64, 128, 256, 512),
        aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        strides: Sequence[int] = (4, 8, 16, 32, 64),
        straddle_threshold: int = 0,
        round_base: bool = True,
    ) -> None:
        """Make the cell anchors.

        Args:
            sizes: in pixels. One level: all sizes are on it. Several: one size, or a tuple of sizes, for each.
            aspect_ratios: height / width.
            strides: pixels per cell of each level.
            straddle_threshold: pixels by which an anchor may leave the image and still train; below 0, any.
            round_base: see `make_cell_anchors`.

        Raises:
            ConfigError: if there are several levels and not as many sizes.
        """
        super().__init__()
        per_level: list[Sequence[float]] = [tuple(sizes)]  # type: ignore[arg-type]
        if len(strides) > 1:
            if len(strides) != len(sizes):
                raise ConfigError(
                    f"anchors: expected one size (or tuple of sizes) for each of the {len(strides)} strides "
                    f"{tuple(strides)}, got {len(sizes)}: {tuple(sizes)}. Set MODEL.RPN.ANCHOR_SIZES accordingly."
                )
            per_level = [tuple(s) if isinstance(s, Sequence) else (s,) for s in sizes]
        self.strides = tuple(strides)
        self.straddle_threshold = straddle_threshold
        self.cell_anchors = CellAnchors(
            [
                make_cell_anchors(
                    stride=stride, sizes=own, aspect_ratios=aspect_ratios, round_base=round_base
                )
                for stride, own in zip(strides, per_level, strict=True)
            ]
        )

    @property
    def num_anchors_per_cell(self) -> list[int]:
        """One number for each level."""
        return [len(self.cell_anchors[level]) for level in range(len(self.cell_anchors))]

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Anchors of every level, (H * W * a, 4) in the order of flattened (y, x, anchor)."""
        return [
            self._level(level, feature.shape[-2], feature.shape[-1])
            for level, feature in enumerate(features)
        ]

    def _level(self, level: int, height: int, width: int) -> Tensor:
        cell = self.cell_anchors[level]  # (a, 4)
        stride = self.strides[level]
        y = torch.arange(height, device=cell.device, dtype=torch.float32) * stride
        x = torch.arange(width, device=cell.device, dtype=torch.float32) * stride
        corner = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)  # (H, W, 2) x, y
        shift = corner.repeat(1, 1, 2)[:, :, None, :]  # (H, W, 1, 4)
        return (shift + cell).reshape(-1, 4)

    def numbers(self, features: Sequence[Tensor]) -> Tensor:
        """What identifies each anchor, (A,) int64: level, row, column, place in the cell.

        Unlike an anchor's index, its number does not change when a batch is padded to another size.
        """
        device = features[0].device
        parts = []
        for level, (feature, count) in enumerate(
            zip(features, self.num_anchors_per_cell, strict=True)
        ):
            height, width = feature.shape[-2:]
            y = torch.arange(height, device=device)[:, None, None]
            x = torch.arange(width, device=device)[None, :, None]
            place = torch.arange(count, device=device)
            # 3, 12, 12 and 5 bits; larger maps would only repeat numbers.
            parts.append(((((level << 12) + y << 12) + x << 5) + place).flatten())
        return torch.cat(parts)

    def is_visible(self, anchors: Tensor, image_sizes: Tensor) -> Tensor:
        """Which anchors lie inside the images, give or take the straddle threshold.

        Args:
            anchors: (A, 4).
            image_sizes: (B, 2) height and width without padding.

        Returns:
            (B, A) bool.
        """
        if self.straddle_threshold < 0:
            return torch.ones(
                image_sizes.shape[0], anchors.shape[0], dtype=torch.bool, device=anchors.device
            )
        margin = self.straddle_threshold
        height, width = image_sizes[:, :1], image_sizes[:, 1:]
        x1, y1, x2, y2 = anchors.unbind(1)
        inside = (x1 >= -margin) & (y1 >= -margin)
        return inside & (x2 < width + margin) & (y2 < height + margin)
