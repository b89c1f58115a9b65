"""The losses of a run as a picture.

Positions are (x, y) in pixels of the canvas, which is drawn `_SCALE` times larger than it is saved:
smooth lines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from maskrcnn_benchmark.errors import TrainingError
from maskrcnn_benchmark.results.palette import Color, color_of

_SCALE = 2
_PAPER, _INK, _FAINT, _TOTAL = (255, 255, 255), (40, 40, 40), (226, 226, 226), (20, 20, 20)
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 96, 52  # margins around the plot, in saved pixels
_TEXT = 14

Curve = list[tuple[float, float]]  # (iteration, value)


def draw_loss_curve(
    records: Sequence[Mapping[str, Any]],
    *,
    title: str = "Training losses",
    width: int = 1000,
    height: int = 560,
) -> Image.Image:
    """Draw the total loss and its parts over the iterations, on a logarithmic axis.

    Args:
        records: as in `metrics.jsonl`; those of kind "train" have `iteration`, `loss` and `loss_...`.
            Values that are not positive and finite leave a gap.
        title: the heading.
        width: of the picture, pixels.
        height: of the picture, pixels.

    Raises:
        TrainingError: if there is no loss to draw.
    """
    curves = _read_curves(records)
    canvas = Image.new("RGB", (width * _SCALE, height * _SCALE), _PAPER)
    pen = ImageDraw.Draw(canvas)
    axes = _Axes.around(curves.values(), width=width * _SCALE, height=height * _SCALE)
    _draw_grid(pen, axes)
    colors = {name: color_of(index) for index, name in enumerate(n for n in curves if n != "loss")}
    for name, curve in reversed(curves.items()):  # The total comes first, so it lies on top.
        _draw_curve(pen, axes, curve, color=colors.get(name, _TOTAL), bold=name not in colors)
    _draw_legend(pen, curves, colors, title=title)
    return canvas.resize((width, height), Image.Resampling.LANCZOS)


def _read_curves(records: Sequence[Mapping[str, Any]]) -> dict[str, Curve]:
    """One curve for each loss, the total first."""
    curves: dict[str, Curve] = {}
    for record in records:
        if record.get("kind") != "train":
            continue
        for name, value in record.items():
            if name == "loss" or name.startswith("loss_"):
                curves.setdefault(name, []).append((float(record["iteration"]), float(value)))
    drawable = {name: curve for name, curve in curves.items() if any(map(_is_drawable, curve))}
    if not drawable:
        raise TrainingError(
            f"expected records of training with losses to draw, got {len(records)} records without; "
            "was the run stopped before the first log line (SOLVER.LOG_PERIOD)?"
        )
    return dict(sorted(drawable.items(), key=lambda item: item[0] != "loss"))


def _is_drawable(point: tuple[float, float]) -> bool:
    return math.isfinite(point[1]) and point[1] > 0


@dataclass(frozen=True, kw_only=True)
class _Axes:
    """Where in the canvas an iteration and a loss are drawn."""

    left: float
    right: float
    top: float
    bottom: float
    last: float  # iteration at the right
    low: float  # exponent of ten at the bottom
    high: float  # exponent of ten at the top

    @classmethod
    def around(cls, curves: Any, *, width: int, height: int) -> _Axes:
        points = [point for curve in curves for point in curve if _is_drawable(point)]
        exponents = [math.log10(value) for _, value in points]
        low, high = min(exponents), max(exponents)
        margin = max(0.05 * (high - low), 0.05)
        return cls(
            left=_LEFT * _SCALE,
            right=width - _RIGHT * _SCALE,
            top=_TOP * _SCALE,
            bottom=height - _BOTTOM * _SCALE,
            last=max(max(iteration for iteration, _ in points), 1.0),
            low=low - margin,
            high=high + margin,
        )

    def x(self, iteration: float) -> float:
        return self.left + (self.right - self.left) * iteration / self.last

    def y(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.bottom - (self.bottom - self.top) * share


def _loss_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten within 10^low to 10^high."""
    return [
        factor * 10.0**exponent
        for exponent in range(math.floor(low), math.ceil(high) + 1)
        for factor in (1, 2, 5)
        if low <= math.log10(factor) + exponent <= high
    ]


def _iteration_ticks(last: float) -> list[int]:
    """About six round numbers from 0 to `last`."""
    rough = max(last / 6, 1)
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return list(range(0, math.floor(last) + 1, step))


def _font(size: int) -> Any:
    return ImageFont.load_default(size=size * _SCALE)


def _draw_grid(pen: ImageDraw.ImageDraw, axes: _Axes) -> None:
    font = _font(_TEXT)
    gap = 8 * _SCALE
    for value in _loss_ticks(axes.low, axes.high):
        y = axes.y(value)
        pen.line((axes.left, y, axes.right, y), fill=_FAINT, width=_SCALE)
        pen.text((axes.left - gap, y), f"{value:g}", fill=_INK, font=font, anchor="rm")
    for iteration in _iteration_ticks(axes.last):
        x = axes.x(iteration)
        pen.line((x, axes.top, x, axes.bottom), fill=_FAINT, width=_SCALE)
        pen.text((x, axes.bottom + gap), f"{iteration:d}", fill=_INK, font=font, anchor="mt")
    pen.line((axes.left, axes.bottom, axes.right, axes.bottom), fill=_INK, width=_SCALE)
    middle = (axes.left + axes.right) / 2
    pen.text((middle, axes.bottom + 4 * gap), "iteration", fill=_INK, font=font, anchor="mt")


def _draw_curve(
    pen: ImageDraw.ImageDraw, axes: _Axes, curve: Curve, *, color: Color, bold: bool
) -> None:
    thickness = (3 if bold else 2) * _SCALE
    stretch: list[tuple[float, float]] = []
    for point in [*curve, (0.0, math.nan)]:  # The last one ends the last stretch.
        if _is_drawable(point):
            stretch.append((axes.x(point[0]), axes.y(point[1])))
            continue
        if len(stretch) == 1:
            (x, y), radius = stretch[0], thickness
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
        elif stretch:
            pen.line(stretch, fill=color, width=thickness, joint="curve")
        stretch = []


def _draw_legend(
    pen: ImageDraw.ImageDraw,
    curves: Mapping[str, Curve],
    colors: Mapping[str, Color],
    *,
    title: str,
) -> None:
    """The heading, and below it each loss with its colour and last value, in two rows."""
    left = float(_LEFT * _SCALE)
    pen.text((left, 12 * _SCALE), title, fill=_INK, font=_font(20), anchor="lt")
    font = _font(_TEXT)
    texts = {name: f"{name} {curve[-1][1]:.3g}" for name, curve in curves.items()}
    column = 48 * _SCALE + max(font.getlength(text) for text in texts.values())
    for index, (name, text) in enumerate(texts.items()):
        x, y = left + (index // 2) * column, (50 + index % 2 * 22) * _SCALE
        pen.line((x, y, x + 18 * _SCALE, y), fill=colors.get(name, _TOTAL), width=4 * _SCALE)
        pen.text((x + 24 * _SCALE, y), text, fill=_INK, font=font, anchor="lm")
