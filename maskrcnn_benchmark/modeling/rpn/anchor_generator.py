"""Anchors: boxes of fixed sizes and shapes around every cell of every feature map.

L: levels.    A: anchors over all cells and levels.    a: anchors per cell.    Aspect ratio = height / width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.numerics import AnchorStyle

# Sizes of maps whose anchors are kept for the next image: 4 MB each for 800 x 1333 pixels.
_MOST_KEPT = 8


def make_cell_anchors(
    *,
    stride: int,
    sizes: Sequence[float],
    aspect_ratios: Sequence[float],
    style: AnchorStyle = "detectron",
) -> Tensor:
    """Anchors around the cell at the origin, all sizes of a ratio before the next ratio.

    Args:
        stride: pixels per cell.
        sizes: side in pixels of the square anchor.
        aspect_ratios: height / width.
        style: detectron: each ratio reshapes the window (0, 0, stride - 1, stride - 1) at equal area, its sides
            rounded to whole pixels, and each size scales it; corners are inclusive. exact: centred at the origin, with
            the area of the square (detectron2, mmdet). rounded: the same, its corners rounded (torchvision).

    Returns:
        (len(aspect_ratios) * len(sizes), 4) float32, ratios outer, sizes inner.

    Raises:
        ConfigError: for another style.
    """
    if style == "detectron":
        return _detectron_cell(stride, sizes, aspect_ratios)
    if style not in ("exact", "rounded"):
        raise ConfigError(f"anchors: expected detectron, exact or rounded, got {style!r}.")
    # float64 but for torchvision's, whose rounding is that of float32.
    dtype = torch.float64 if style == "exact" else torch.float32
    height = torch.tensor(aspect_ratios, dtype=dtype).sqrt()
    scale = torch.tensor(sizes, dtype=dtype)
    half = torch.stack((1 / height, height), dim=1)[:, None] * scale[:, None] / 2
    half = half.flatten(0, 1)  # (a, 2)
    if style == "rounded":
        half = half.round()
    return torch.cat((-half, half), dim=1).float()


def octave_sizes(
    sizes: Sequence[float], *, octave: float = 2.0, scales: int = 3, truncate: bool = False
) -> tuple[tuple[float, ...], ...]:
    """Several anchor sizes for each level, evenly spaced within an octave (RetinaNet, arXiv:1708.02002, section 4).

    Args:
        sizes: the smallest of each level, in pixels.
        octave: ratio of the sizes of one level to the next.
        scales: sizes per level.
        truncate: cut to whole pixels (torchvision).
    """
    levels = [[size * octave ** (i / scales) for i in range(scales)] for size in sizes]
    return tuple(tuple(float(int(s)) if truncate else s for s in own) for own in levels)


def _detectron_cell(stride: int, sizes: Sequence[float], aspect_ratios: Sequence[float]) -> Tensor:
    center = 0.5 * (stride - 1)
    anchors = []
    for ratio in aspect_ratios:
        width = np.round(np.sqrt(stride * stride / ratio))
        height = np.round(width * ratio)
        for size in sizes:
            half = 0.5 * (np.array([width, height]) * (size / stride) - 1)
            anchors.append(np.concatenate((center - half, center + half)))
    return torch.tensor(np.stack(anchors), dtype=torch.float32)


class BufferList(nn.Module):
    """A list of tensors as buffers `0`, `1`, ...: they move with the module and travel in checkpoints."""

    def __init__(self, buffers: Iterable[Tensor] | None = None) -> None:
        """Start with some buffers (the cell anchors (a, 4) of every level, say), or none."""
        super().__init__()
        self.extend(buffers or ())

    def extend(self, buffers: Iterable[Tensor]) -> BufferList:
        """Append buffers; returns the list."""
        for number, buffer in enumerate(buffers, start=len(self)):
            self.register_buffer(str(number), buffer)
        return self

    def __len__(self) -> int:
        return len(self._buffers)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Tensor:
        return self.get_buffer(str(number))


class AnchorGenerator(nn.Module):
    """Lays the cell anchors over feature maps."""

    def __init__(
        self,
        *,
        sizes: Sequence[float | Sequence[float]] = (32, 64, 128, 256, 512),
        aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        strides: Sequence[int] = (4, 8, 16, 32, 64),
        straddle_threshold: int = 0,
        style: AnchorStyle = "detectron",
    ) -> None:
        """Make the cell anchors.

        Args:
            sizes: in pixels. One level: all sizes are on it. Several: one size, or a tuple of sizes, for each.
            aspect_ratios: height / width.
            strides: pixels per cell of each level.
            straddle_threshold: pixels by which an anchor may leave the image and still train; below 0, any.
            style: see `make_cell_anchors`. With `rounded`, as in torchvision, the strides of all but the finest map
                follow from the sizes of the maps: 61 rather than 64 where 13 cells cover 800 pixels.

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
        self.style = style
        self._kept: dict[tuple[object, ...], list[Tensor]] = {}
        self.cell_anchors = BufferList(
            [
                make_cell_anchors(
                    stride=stride, sizes=own, aspect_ratios=aspect_ratios, style=style
                )
                for stride, own in zip(strides, per_level, strict=True)
            ]
        )

    @property
    def num_anchors_per_cell(self) -> list[int]:
        """One number for each level."""
        return [len(self.cell_anchors[level]) for level in range(len(self.cell_anchors))]

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Anchors of every level, (H * W * a, 4) in the order of flattened (y, x, anchor).

        In evaluation mode those of the last few sizes are kept; nobody may write into them.
        """
        cell = self.cell_anchors[0]
        if self.training or torch.compiler.is_compiling() or cell.is_inference():
            return self._lay(features)
        # Loaded weights may bring other cell anchors.
        version = sum(own._version for own in self.cell_anchors)
        sizes = (feature.shape[-2:] for feature in features)
        key = (cell.device, cell.data_ptr(), version, *sizes)
        anchors = self._kept.pop(key, None)
        if anchors is None:
            # Tensors made in inference mode could not be used outside of it.
            with torch.inference_mode(False), torch.no_grad():
                anchors = self._lay(features)
        self._kept[key] = anchors  # The latest at the end.
        for old in list(self._kept)[:-_MOST_KEPT]:
            self._kept.pop(old, None)
        return list(anchors)

    def _lay(self, features: Sequence[Tensor]) -> list[Tensor]:
        height, width = (side * self.strides[0] for side in features[0].shape[-2:])
        anchors = []
        for level, feature in enumerate(features):
            rows, columns = feature.shape[-2:]
            step = (self.strides[level], self.strides[level])
            if self.style == "rounded":
                step = (height // rows, width // columns)
            anchors.append(self._level(level, rows, columns, step))
        return anchors

    def _level(self, level: int, rows: int, columns: int, step: tuple[int, int]) -> Tensor:
        cell = self.cell_anchors[level]  # (a, 4)
        y = torch.arange(rows, device=cell.device, dtype=torch.float32) * step[0]
        x = torch.arange(columns, device=cell.device, dtype=torch.float32) * step[1]
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
