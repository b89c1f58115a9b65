"""Outer outlines of bit masks as polygons that run along the edges of pixels.

Drawn again (`polygons.rasterize_polygons`), the outlines give the mask back exactly, but for its
holes, which are filled. The old project's outlines ran through the centres of border pixels and
lost half a pixel on each side.

H, W: height and width of the image.    E: pixel edges between mask and background.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

IntArray = npt.NDArray[np.int64]
Point = tuple[int, int]


def outline_masks(mask: Tensor) -> list[Tensor]:
    """Outlines of the 4-connected parts of a mask.

    Args:
        mask: (H, W), anything but zero belongs to the object.

    Returns:
        Flat float32 tensors x0, y0, x1, y1, ... with corners on pixel edges (0..W, 0..H), clockwise
        on the screen.
    """
    loops = _loops(_edges(mask.ne(0).cpu().numpy()))
    outer = [corners for corners in map(_corners, loops) if _signed_area(corners) > 0]
    return [torch.from_numpy(corners.reshape(-1).astype(np.float32)) for corners in outer]


def _edges(mask: npt.NDArray[np.bool_]) -> IntArray:
    """Directed edges (E, 4) x, y, dx, dy, one pixel long, the object on the right-hand side."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    # The neighbour that must be background; the edge's start relative to the pixel; its direction.
    sides = (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),  # above: eastwards
        (padded[1:-1, 2:], (1, 0), (0, 1)),  # right: southwards
        (padded[2:, 1:-1], (1, 1), (-1, 0)),  # below: westwards
        (padded[1:-1, :-2], (0, 1), (0, -1)),  # left: northwards
    )
    edges = []
    for neighbour, (start_x, start_y), (dx, dy) in sides:
        y, x = np.nonzero(inside & ~neighbour)
        edges.append(
            np.stack((x + start_x, y + start_y, np.full_like(x, dx), np.full_like(x, dy)), axis=1)
        )
    return np.concatenate(edges).astype(np.int64)


def _loops(edges: IntArray) -> list[list[Point]]:
    """Join edges into closed walks, given as the points they pass."""
    leaving: dict[Point, list[Point]] = {}
    for x, y, dx, dy in edges.tolist():
        leaving.setdefault((x, y), []).append((dx, dy))
    loops = []
    while leaving:
        point = next(iter(leaving))
        direction = leaving[point][0]
        walk = []
        while point in leaving:
            choices = leaving[point]
            dx, dy = direction
            # Where two parts touch at a corner, turn right: stay with the same part.
            direction = (-dy, dx) if len(choices) > 1 and (-dy, dx) in choices else choices[0]
            choices.remove(direction)
            if not choices:
                del leaving[point]
            walk.append(point)
            point = (point[0] + direction[0], point[1] + direction[1])
        loops.append(walk)
    return loops


def _corners(walk: list[Point]) -> IntArray:
    """The points of a closed walk at which it turns."""
    points = np.array(walk, dtype=np.int64)
    into = points - np.roll(points, 1, axis=0)
    out_of = np.roll(points, -1, axis=0) - points
    corners: IntArray = points[(into != out_of).any(axis=1)]
    return corners


def _signed_area(corners: IntArray) -> float:
    """Enclosed area, negative for the border of a hole."""
    following = np.roll(corners, -1, axis=0)
    return float((corners[:, 0] * following[:, 1] - following[:, 0] * corners[:, 1]).sum()) / 2
