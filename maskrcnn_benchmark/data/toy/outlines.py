"""The five kinds of toy objects as outlines: closed curves in a plane, before any pixel.

V: vertices of one closed curve. Coordinates are (x, y), y pointing down. A new outline lies inside
the unit circle; `Outline.placed` turns, grows and moves it to where it stands in an image, in
pixels (pixel i covers the interval from i to i + 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]  # (V, 2)

_ROUND_VERTICES = 40
_TOE_VERTICES = 18


@dataclass(frozen=True, kw_only=True)
class Outline:
    """One object: what lies inside any of `parts` and outside all of `holes`."""

    parts: tuple[Points, ...]
    holes: tuple[Points, ...] = ()

    def placed(self, *, centre: tuple[float, float], radius: float, angle: float) -> Outline:
        """Turn by `angle` (radians), grow to `radius` and move to `centre`."""
        cos, sin = math.cos(angle), math.sin(angle)
        turn = radius * np.array([[cos, sin], [-sin, cos]])

        def move(points: Points) -> Points:
            moved: Points = points @ turn + np.asarray(centre)
            return moved

        return Outline(
            parts=tuple(move(part) for part in self.parts),
            holes=tuple(move(hole) for hole in self.holes),
        )


def _ellipse(
    *, centre: tuple[float, float], half_axes: tuple[float, float], angle: float, vertices: int
) -> Points:
    turns = np.linspace(0.0, 2 * math.pi, vertices, endpoint=False)
    # Grown a little, so that the polygon has the ellipse's area.
    grow = math.sqrt(2 * math.pi / (vertices * math.sin(2 * math.pi / vertices)))
    x, y = grow * half_axes[0] * np.cos(turns), grow * half_axes[1] * np.sin(turns)
    cos, sin = math.cos(angle), math.sin(angle)
    return np.stack([centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos], axis=1)


def draw_box(rng: np.random.Generator) -> Outline:
    """A rectangle, from square to about twice as long as wide."""
    half_height = rng.uniform(0.45, 1.0)
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) * [1.0, half_height]
    return Outline(parts=(corners / math.hypot(1.0, half_height),))


def draw_star(rng: np.random.Generator) -> Outline:
    """A star with four to six points."""
    points = int(rng.integers(4, 7))
    radii = np.where(np.arange(2 * points) % 2, rng.uniform(0.40, 0.55), 1.0)
    turns = np.arange(2 * points) * math.pi / points
    return Outline(parts=(np.stack([radii * np.cos(turns), radii * np.sin(turns)], axis=1),))


def draw_ring(rng: np.random.Generator) -> Outline:
    """A ring seen somewhat from the side: an ellipse with a hole."""
    flatness, hole = rng.uniform(0.7, 1.0), rng.uniform(0.45, 0.65)
    outer = _ellipse(centre=(0, 0), half_axes=(1.0, flatness), angle=0, vertices=_ROUND_VERTICES)
    return Outline(parts=(outer * 0.99,), holes=(outer * 0.99 * hole,))


def draw_blob(rng: np.random.Generator) -> Outline:
    """A smooth closed curve with two to four lobes."""
    turns = np.linspace(0.0, 2 * math.pi, 2 * _ROUND_VERTICES, endpoint=False)
    lobes = int(rng.integers(2, 5))
    radii = 1.0 + rng.uniform(0.18, 0.32) * np.cos(lobes * turns)
    for wave in range(1, 6):
        radii += rng.uniform(0.0, 0.22 / wave) * np.cos(wave * turns + rng.uniform(0, 2 * math.pi))
    radii /= radii.max()
    return Outline(parts=(np.stack([radii * np.cos(turns), radii * np.sin(turns)], axis=1),))


def draw_paw(rng: np.random.Generator) -> Outline:
    """A paw print: one pad and three or four toes, which do not touch."""
    pad = _ellipse(
        centre=(0.0, 0.42),
        half_axes=(rng.uniform(0.52, 0.62), rng.uniform(0.40, 0.47)),
        angle=0,
        vertices=_ROUND_VERTICES,
    )
    toes = int(rng.integers(3, 5))
    spread = rng.uniform(0.85, 1.0)
    width = 0.20 if toes == 4 else 0.26
    parts = [pad]
    for turn in np.linspace(-spread, spread, toes):
        centre = (0.83 * math.sin(turn), 0.12 - 0.83 * math.cos(turn))
        parts.append(
            _ellipse(centre=centre, half_axes=(width, 0.28), angle=turn, vertices=_TOE_VERTICES)
        )
    longest = max(float(np.hypot(*part.T).max()) for part in parts)
    return Outline(parts=tuple(part / longest for part in parts))


# Name -> how one is drawn, in the order of the category ids 1, 2, ...
OUTLINES: dict[str, Callable[[np.random.Generator], Outline]] = {
    "box": draw_box,
    "star": draw_star,
    "ring": draw_ring,
    "blob": draw_blob,
    "paw": draw_paw,
}
