"""Outlines to pixels, and pixels back to polygons.

H, W: height and width of the image. Pixel i covers the interval from i to i + 1, as pycocotools
takes it, so polygons traced from a mask give exactly that mask when they are filled again.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from maskrcnn_benchmark.data.toy.outlines import Outline, Points

Mask = npt.NDArray[np.bool_]  # (H, W)
Coverage = npt.NDArray[np.float32]  # (H, W), 0 outside, 1 inside, between on the edge

# An outline is drawn so many times larger, then averaged down: smooth edges.
_OVERSAMPLING = 4


def coverage_of(outline: Outline, *, width: int, height: int) -> Coverage:
    """What share of each pixel lies inside the outline, (height, width) from 0 to 1."""
    points = np.concatenate(outline.parts)
    left, top = np.clip(np.floor(points.min(axis=0)), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil(points.max(axis=0)), (left + 1, top + 1), (width, height))
    size = (int(bottom) - top, int(right) - left)
    corner = np.array([left, top])
    inside = _fill(outline.parts, corner=corner, size=size)
    if outline.holes:
        inside &= ~_fill(outline.holes, corner=corner, size=size)
    tiles = inside.reshape(size[0], _OVERSAMPLING, size[1], _OVERSAMPLING)
    coverage = np.zeros((height, width), dtype=np.float32)
    coverage[top : int(bottom), left : int(right)] = tiles.mean(axis=(1, 3), dtype=np.float32)
    return coverage


def _fill(
    curves: tuple[Points, ...], *, corner: npt.NDArray[np.int64], size: tuple[int, int]
) -> Mask:
    """Fill curves in a window that begins at `corner` (x, y), `size` (height, width) pixels large.

    Not with Pillow, which also fills every pixel that the boundary runs through.
    """
    grown = [((points - corner) * _OVERSAMPLING).reshape(-1).tolist() for points in curves]
    runs = coco_mask.frPyObjects(grown, size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING)
    filled: Mask = coco_mask.decode(coco_mask.merge(runs)).astype(np.bool_)
    return filled


def trace_loops(mask: Mask) -> list[Points]:
    """Follow the pixel edges between inside and outside.

    Pixels that touch only at a corner are not connected. Loops around the inside run clockwise as
    one sees them, loops around holes the other way; see `signed_area`.

    Args:
        mask: (H, W).

    Returns:
        Closed loops of whole-numbered (V, 2) corners (x, y); none where nothing is inside.
    """
    followers = _edges_by_start(mask)
    loops = []
    while followers:
        start = next(iter(followers))
        loop = [start]
        corner, step = _take_edge(followers, start, None)
        while corner != start:
            previous_step = step
            loop.append(corner)
            corner, step = _take_edge(followers, corner, previous_step)
        loops.append(_without_straight_corners(np.array(loop, dtype=np.float64)))
    return loops


_Corner = tuple[int, int]


def _edges_by_start(mask: Mask) -> dict[_Corner, list[_Corner]]:
    """Each pixel edge between inside and outside, inside on its right: start -> steps (dx, dy)."""
    inside = np.pad(mask, 1).astype(np.int8)
    down = np.diff(inside, axis=0)[:, 1:-1]  # (H + 1, W): what changes from one row to the next
    right = np.diff(inside, axis=1)[1:-1]  # (H, W + 1)
    followers: dict[_Corner, list[_Corner]] = {}
    # Change in which direction, where an edge starts, which way it goes.
    for change, sign, offset, step in (
        (down, 1, (0, 0), (1, 0)),
        (right, -1, (0, 0), (0, 1)),
        (down, -1, (1, 0), (-1, 0)),
        (right, 1, (0, 1), (0, -1)),
    ):
        for y, x in np.argwhere(change == sign).tolist():
            followers.setdefault((x + offset[0], y + offset[1]), []).append(step)
    return followers


def _take_edge(
    followers: dict[_Corner, list[_Corner]], corner: _Corner, previous_step: _Corner | None
) -> tuple[_Corner, _Corner]:
    """Remove one edge that starts at `corner`; return where it ends and its step."""
    steps = followers[corner]
    chosen = steps[0]
    if len(steps) > 1 and previous_step is not None:
        # Two pixels touch here at a corner only: turn right, that is around the same pixel.
        chosen = (-previous_step[1], previous_step[0])
    steps.remove(chosen)
    if not steps:
        del followers[corner]
    return (corner[0] + chosen[0], corner[1] + chosen[1]), chosen


def _without_straight_corners(loop: Points) -> Points:
    before, after = loop - np.roll(loop, 1, axis=0), np.roll(loop, -1, axis=0) - loop
    corners: Points = loop[(before != after).any(axis=1)]
    return corners


def signed_area(loop: Points) -> float:
    """Area inside a closed loop, negative when it runs counter-clockwise as one sees it."""
    x, y = loop.T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2)
