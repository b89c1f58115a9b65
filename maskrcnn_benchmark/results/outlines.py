"""Masks as polygons along the edges of their pixels, exactly: a polygon drawn again gives the same mask.

Corners are whole numbers, pixel (x, y) reaching from x to x + 1, as in COCO.

C: corners.    P: points of a polygon.    H, W: image height and width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from maskrcnn_benchmark.results.masks import RLE, BoolArray
from maskrcnn_benchmark.results.windows import cut

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


def polygons_of(rle: RLE, *, tolerance: float = 0.0) -> list[FloatArray]:
    """Polygons (P, 2) of x, y that together show a mask; none where it has no pixel.

    One for each part of the mask. A mask with holes is one polygon that runs through all parts and around the holes,
    on lines that it follows there and back, since no format here knows holes.

    Args:
        rle: the mask.
        tolerance: points may be left out as long as the outline does not move further, in pixels; 0 for none.
    """
    top, left, window = cut(rle)
    rings = [ring + np.array([left, top]) for ring in _trace(window)]
    if any(_is_hole(ring) for ring in rings):
        rings = [_bridge([simplify(ring, tolerance) for ring in rings])]
        return [ring.astype(np.float64) for ring in rings]
    return [simplify(ring, tolerance).astype(np.float64) for ring in rings]


def polygon_of(rle: RLE, *, tolerance: float = 0.0) -> FloatArray:
    """One polygon (P, 2) that shows a whole mask, its parts joined by lines without width; see `polygons_of`."""
    parts = polygons_of(rle, tolerance=tolerance)
    return _bridge(parts) if parts else np.zeros((0, 2))


def simplify(ring: NDArray[np.generic], tolerance: float) -> NDArray[np.generic]:
    """A closed line (P, 2) with fewer points (Douglas and Peucker, 1973), at least three."""
    if tolerance <= 0 or len(ring) <= 4:
        return ring
    points = np.concatenate((ring, ring[:1])).astype(np.float64)
    # Two ends that are far apart: the first point, and the one farthest from it.
    middle = int(((points - points[0]) ** 2).sum(axis=1).argmax())
    keep = np.zeros(len(points), dtype=np.bool_)
    keep[[0, middle, len(points) - 1]] = True
    spans = [(0, middle), (middle, len(points) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        distance = _distance(points[first + 1 : last], points[first], points[last])
        farthest = int(distance.argmax())
        if distance[farthest] > tolerance:
            split = first + 1 + farthest
            keep[split] = True
            spans += [(first, split), (split, last)]
    chosen = ring[keep[:-1]]
    return chosen if len(chosen) >= 3 else ring


def _distance(points: FloatArray, begin: FloatArray, end: FloatArray) -> FloatArray:
    """Distances of points (P, 2) from the line through two others."""
    along = end - begin
    away = points - begin
    length = float(np.hypot(*along))
    if length == 0:
        return np.hypot(away[:, 0], away[:, 1])
    distance: FloatArray = np.abs(away[:, 0] * along[1] - away[:, 1] * along[0]) / length
    return distance


def _trace(mask: BoolArray) -> list[IntArray]:
    """The rings (C, 2) of x, y around the parts of a mask, clockwise, and around its holes, counterclockwise.

    Parts that touch at a corner only are apart.
    """
    corners, is_diagonal = _corners(mask)
    if not len(corners):
        return []
    # In the order of rows each second corner ends the edge that the one before begins; likewise in columns. At a
    # diagonal two corners lie on each other: the first belongs to the edge from the left, the second to that to the
    # right.
    by_row = np.lexsort((np.arange(len(corners)), corners[:, 0], corners[:, 1]))
    swap = np.arange(len(corners))
    # Where the pixels are top right and bottom left, the edge from above goes on to the right.
    swap[is_diagonal == 2] *= -1
    by_column = np.lexsort((swap, corners[:, 1], corners[:, 0]))
    across, down = np.empty_like(by_row), np.empty_like(by_row)
    for order, partner in ((by_row, across), (by_column, down)):
        partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    rings = []
    seen = np.zeros(len(corners), dtype=np.bool_)
    next_across, next_down = across.tolist(), down.tolist()
    for start in by_row.tolist():
        if seen[start]:
            continue
        ring, place = [], start
        while True:
            ring.append(place)
            place = next_across[place]
            ring.append(place)
            place = next_down[place]
            if place == start:
                break
        seen[ring] = True
        points = corners[ring]
        x, y = points[0]
        # The first corner of a ring is its top left one: inside of it is what lies to its lower right.
        inside = y < mask.shape[0] and x < mask.shape[1] and bool(mask[y, x])
        rings.append(points if inside else points[::-1])
    return rings


def _corners(mask: BoolArray) -> tuple[IntArray, IntArray]:
    """Where outlines turn, (C, 2) x, y, row by row; and 1 or 2 where two corners meet at a diagonal, else 0.

    1: pixels at the top left and the bottom right; 2: at the top right and the bottom left. Those come twice.
    """
    padded = np.pad(mask, 1)
    top_left, top_right = padded[:-1, :-1], padded[:-1, 1:]
    low_left, low_right = padded[1:, :-1], padded[1:, 1:]
    odd = top_left ^ top_right ^ low_left ^ low_right
    meets = (top_left == low_right) & (top_right == low_left) & (top_left != top_right)
    rows, columns = np.nonzero(odd | meets)
    kind = np.where(meets[rows, columns], np.where(top_left[rows, columns], 1, 2), 0)
    times = np.where(kind > 0, 2, 1)
    corners = np.stack((columns, rows), axis=1)
    return np.repeat(corners, times, axis=0), np.repeat(kind, times)


def _is_hole(ring: IntArray) -> bool:
    """Whether a ring runs counterclockwise (in pixels, whose y points down)."""
    x, y = ring[:, 0], ring[:, 1]
    return bool((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() < 0)


def _bridge(rings: Sequence[NDArray[np.generic]]) -> FloatArray:
    """Rings (P, 2) joined to one, each by a line to the nearest point of those before and back."""
    joined = np.asarray(rings[0], dtype=np.float64)
    for ring in rings[1:]:
        points = np.asarray(ring, dtype=np.float64)
        place = int(((joined - points[0]) ** 2).sum(axis=1).argmin())
        loop = np.concatenate((points, points[:1], joined[place : place + 1]))
        joined = np.concatenate((joined[: place + 1], loop, joined[place + 1 :]))
    return joined
