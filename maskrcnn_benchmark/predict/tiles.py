"""Large images: cut into tiles that overlap, and what is found in each joined to objects of the whole.

Two detections of neighbouring tiles are one object if they agree on what both tiles see of it: in the area that the
tiles share, their masks (boxes, where there are none) overlap. So an object that a seam cuts is put together from its
parts, over any number of tiles; and two objects that one tile tells apart stay two.

N: objects.    T: tiles.    H, W: height and width of the whole image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from maskrcnn_benchmark.data.datasets.channels import size_of
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.masks import RLE, area_of
from maskrcnn_benchmark.results.windows import crop_rle, intersect, move_rle, unite
from maskrcnn_benchmark.structures.sizes import HeightWidth

Picture: TypeAlias = Image.Image | Tensor
# Parts of one image -> (which part, what is in it), in any order.
DetectParts = Callable[[Iterable[Picture]], Iterable[tuple[int, Detections]]]

# In the shared area: intersection over union of what are the same object, and over the smaller one where a tile's edge
# cuts one of them (a tile that sees but a rim of an object is seldom sure of its extent).
_SAME_IOU = 0.5
_SAME_IOS = 0.7
# An object that ends so near a tile's edge, in pixels, is cut by it.
_CUT_MARGIN = 3.0
_MIN_SIDE = 32


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How images are cut.

    Attributes:
        side: of a tile, in pixels; the last row and column are moved inwards, so that all tiles are as large.
        overlap: the part of a tile's side that it shares with the next, at least.
    """

    side: int
    overlap: float = 0.2

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ConfigError: for a side below 32 pixels, or an overlap that is not from 0 to below 0.9.
        """
        if self.side < _MIN_SIDE:
            raise ConfigError(
                f"a tile must have at least {_MIN_SIDE} pixels a side, got {self.side}"
            )
        if not 0 <= self.overlap < 0.9:
            raise ConfigError(
                f"the overlap of tiles must be from 0 to below 0.9, got {self.overlap}"
            )

    def windows(self, size: HeightWidth) -> list[Window]:
        """The tiles of an image, row by row."""
        rows, columns = (self._starts(length) for length in size)
        return [
            Window(
                top=top,
                left=left,
                bottom=min(top + self.side, size.height),
                right=min(left + self.side, size.width),
            )
            for top in rows
            for left in columns
        ]

    def _starts(self, length: int) -> list[int]:
        if length <= self.side:
            return [0]
        step = max(1, round(self.side * (1 - self.overlap)))
        count = -(-(length - self.side) // step) + 1
        return [min(number * step, length - self.side) for number in range(count)]


@dataclass(frozen=True, kw_only=True)
class Window:
    """A part of an image, in whole pixels; `bottom` and `right` lie outside."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> HeightWidth:
        """Height and width."""
        return HeightWidth(self.bottom - self.top, self.right - self.left)

    def shared_with(self, other: Window) -> Window | None:
        """The pixels that are in both."""
        shared = Window(
            top=max(self.top, other.top),
            left=max(self.left, other.left),
            bottom=min(self.bottom, other.bottom),
            right=min(self.right, other.right),
        )
        return shared if min(shared.size) > 0 else None

    def edges(self) -> NDArray[np.float32]:
        """(4,) xyxy."""
        return np.array([self.left, self.top, self.right, self.bottom], dtype=np.float32)


def detect_in_tiles(
    detect: DetectParts, image: Picture, tiling: Tiling, *, max_overlap: float = 0.5
) -> Detections:
    """Find objects in an image of any size.

    Args:
        detect: finds them in the tiles.
        image: the whole.
        tiling: how it is cut.
        max_overlap: of two objects of a class from different tiles that overlap more, the lesser one is left out.

    Returns:
        Detections in pixels of the whole image, the highest score first.
    """
    size = size_of(image).transposed()
    windows = tiling.windows(size)
    if len(windows) == 1:
        ((_, found),) = detect([image])
        return found
    found_in = dict(detect(_cut(image, window) for window in windows))
    parts = [found_in[index] for index in range(len(windows))]
    moved = [move(found, window, size) for found, window in zip(parts, windows, strict=True)]
    together = Detections.concatenate(moved)
    tile_of = np.repeat(np.arange(len(windows)), [len(found) for found in moved])
    is_cut = _is_cut(together, tile_of, windows, size)
    groups = _find_groups(together, tile_of, windows, is_cut)
    joined, tiles = _join(together, groups, tile_of)
    is_fragment = np.array([len(group) == 1 and bool(is_cut[group[0]]) for group in groups])
    return _suppress(joined, tiles, is_fragment, max_overlap)


def move(found: Detections, window: Window, size: HeightWidth) -> Detections:
    """Detections of a part of an image as ones of the whole, of `size`."""
    keypoints = found.keypoints
    if keypoints is not None:
        points = keypoints.points.copy()
        points[..., 0] += window.left
        points[..., 1] += window.top
        keypoints = replace(keypoints, points=points)
    return replace(
        found,
        image_size=size,
        boxes=found.boxes + np.array([window.left, window.top] * 2, dtype=np.float32),
        masks=None
        if found.masks is None
        else [
            move_rle(mask, top=window.top, left=window.left, height=size.height, width=size.width)
            for mask in found.masks
        ],
        keypoints=keypoints,
    )


def _cut(image: Picture, window: Window) -> Picture:
    if isinstance(image, Tensor):
        return image[:, window.top : window.bottom, window.left : window.right]
    return image.crop((window.left, window.top, window.right, window.bottom))


def _find_groups(
    found: Detections, tile_of: NDArray[np.int64], windows: list[Window], is_cut: NDArray[np.bool_]
) -> list[list[int]]:
    """Which detections are one object; each is in one group, and no group has two of one tile."""
    group_of = {index: [index] for index in range(len(found))}
    for score, first, second in sorted(
        _matches(found, tile_of, windows, is_cut), key=lambda match: -match[0]
    ):
        assert score > 0
        one, other = group_of[first], group_of[second]
        if one is other or {tile_of[i] for i in one} & {tile_of[i] for i in other}:
            continue
        one.extend(other)
        for index in other:
            group_of[index] = one
    return list({id(group): group for group in group_of.values()}.values())


def _is_cut(
    found: Detections, tile_of: NDArray[np.int64], windows: list[Window], size: HeightWidth
) -> NDArray[np.bool_]:
    """Which objects (N,) end where their tile does but the image does not."""
    edges = np.stack([window.edges() for window in windows])
    ends = np.array([0, 0, size.width, size.height])
    inner = (edges != ends)[tile_of]
    near = np.abs(_continuous(found) - edges[tile_of]) <= _CUT_MARGIN
    cut: NDArray[np.bool_] = (inner & near).any(axis=1)
    return cut


def _continuous(found: Detections) -> NDArray[np.float32]:
    """Boxes (N, 4) whose width is x2 - x1."""
    boxes = found.boxes.copy()
    boxes[:, 2:] += found.box_offset
    return boxes


def _matches(
    found: Detections, tile_of: NDArray[np.int64], windows: list[Window], is_cut: NDArray[np.bool_]
) -> Iterator[tuple[float, int, int]]:
    """How well two detections of different tiles agree, and which they are, for those that may be one object."""
    boxes = _continuous(found)
    for (tile, window), (other_tile, other) in combinations(enumerate(windows), 2):
        shared = window.shared_with(other)
        if shared is None:
            continue
        near = _inside(boxes, shared)
        for first in np.flatnonzero(near & (tile_of == tile)).tolist():
            same_class = found.labels == found.labels[first]
            for second in np.flatnonzero(near & same_class & (tile_of == other_tile)).tolist():
                iou, ios = _agreement(found, boxes, first, second, shared)
                if iou >= _SAME_IOU or (ios >= _SAME_IOS and (is_cut[first] or is_cut[second])):
                    yield max(iou, 0.5 * ios), first, second


def _inside(boxes: NDArray[np.float32], window: Window) -> NDArray[np.bool_]:
    """Which boxes reach into a window."""
    left, top, right, bottom = window.edges()
    reach: NDArray[np.bool_] = (
        (boxes[:, 0] < right) & (boxes[:, 2] > left) & (boxes[:, 1] < bottom) & (boxes[:, 3] > top)
    )
    return reach


def _agreement(
    found: Detections, boxes: NDArray[np.float32], first: int, second: int, shared: Window
) -> tuple[float, float]:
    """Intersection over union, and over the smaller one, of what two objects have in the shared area."""
    edges = shared.edges()
    clipped = boxes[[first, second]]
    clipped = np.concatenate(
        (np.maximum(clipped[:, :2], edges[:2]), np.minimum(clipped[:, 2:], edges[2:])), axis=1
    )
    sides = clipped[:, 2:] - clipped[:, :2]
    corner = np.minimum(clipped[0, 2:], clipped[1, 2:]) - np.maximum(clipped[0, :2], clipped[1, :2])
    if not (corner > 0).all():
        return 0.0, 0.0
    intersection, areas = float(corner.prod()), sides.prod(axis=1).tolist()
    if found.masks is not None:
        height, width = shared.size
        pair = [
            crop_rle(
                found.masks[index], top=shared.top, left=shared.left, height=height, width=width
            )
            for index in (first, second)
        ]
        intersection, areas = area_of(intersect(pair)), [area_of(mask) for mask in pair]
    smaller, union = min(areas), sum(areas) - intersection
    return (intersection / union if union else 0.0), (intersection / smaller if smaller else 0.0)


def _join(
    found: Detections, groups: list[list[int]], tile_of: NDArray[np.int64]
) -> tuple[Detections, list[set[int]]]:
    """One detection for each group, and the tiles it was seen in.

    Its box and its mask hold those of all parts, its score is the best of them; its class is theirs, and its keypoints
    are those of the part that shows most.
    """
    largest = [max(group, key=lambda index: _size(found, index)) for group in groups]
    joined = found[np.array(largest, dtype=np.int64)]
    boxes, scores = joined.boxes.copy(), joined.scores.copy()
    masks: list[RLE] | None = None if found.masks is None else []
    for place, group in enumerate(groups):
        boxes[place, :2] = found.boxes[group, :2].min(axis=0)
        boxes[place, 2:] = found.boxes[group, 2:].max(axis=0)
        scores[place] = found.scores[group].max()
        if masks is not None and found.masks is not None:
            masks.append(unite([found.masks[index] for index in group]))
    tiles = [{int(tile_of[index]) for index in group} for group in groups]
    return replace(joined, boxes=boxes, scores=scores, masks=masks), tiles


def _size(found: Detections, index: int) -> float:
    left, top, right, bottom = found.boxes[index].tolist()
    return float((right - left) * (bottom - top))


def _suppress(
    found: Detections, tiles: list[set[int]], is_fragment: NDArray[np.bool_], max_overlap: float
) -> Detections:
    """Leave out what overlaps a better object of its class from other tiles; best first.

    Args:
        found: objects.
        tiles: those that each was seen in.
        is_fragment: which (N,) an edge cuts that no other tile has completed: they need not overlap an object, only lie
            on one that other tiles saw, too.
        max_overlap: see `detect_in_tiles`.
    """
    boxes = _continuous(found)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    kept: list[int] = []
    for index in np.argsort(-found.scores, kind="stable").tolist():
        rivals = [other for other in kept if found.labels[other] == found.labels[index]]
        corner = np.minimum(boxes[rivals, 2:], boxes[index, 2:])
        corner = (corner - np.maximum(boxes[rivals, :2], boxes[index, :2])).clip(min=0)
        shared = corner.prod(axis=1)
        too_much = shared > max_overlap * (areas[rivals] + areas[index] - shared)
        inside = shared >= _SAME_IOS * areas[index]
        is_same = any(
            (more and not tiles[other] & tiles[index])
            or (
                contained
                and is_fragment[index]
                and bool(tiles[other] - tiles[index])
                and _covers(found, other, index)
            )
            for other, more, contained in zip(rivals, too_much, inside, strict=True)
        )
        if not is_same:
            kept.append(index)
    return found[np.array(kept, dtype=np.int64)]


def _covers(found: Detections, larger: int, smaller: int) -> bool:
    """Whether most of an object's mask is on another one; without masks their boxes have said so."""
    if found.masks is None:
        return True
    area = area_of(found.masks[smaller])
    shared = area_of(intersect([found.masks[larger], found.masks[smaller]]))
    return shared >= _SAME_IOS * area
