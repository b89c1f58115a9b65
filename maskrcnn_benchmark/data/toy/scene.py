"""One toy picture and exactly what can be seen in it.

Objects are painted back to front. Each later one hides what it covers, so an object's mask is what
remains visible of it. Nothing is ever painted that is not annotated: a place where an object would
hide too much of another, or lie too far outside the picture, is not taken.

H, W: height and width of the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from maskrcnn_benchmark.data.toy.outlines import OUTLINES, Outline
from maskrcnn_benchmark.data.toy.pixel_masks import Coverage, Mask, coverage_of
from maskrcnn_benchmark.data.toy.textures import (
    Pixels,
    draw_colour,
    draw_muted_colour,
    paint_background,
    paint_fill,
)

CLASS_NAMES = tuple(OUTLINES)

_SHORT_SIDE = (112, 129)  # pixels, from and below
_MAX_ASPECT = 1.35
_EMPTY_SHARE = 0.05
_CROWD_SHARE = 0.10
_MAX_OBJECTS = 6
# Share of the objects and radii in pixels: small ones, middling ones, large ones. A tiny ring or paw
# would be a few pixels without a shape, so these begin larger.
_RADII = ((0.08, (5.0, 9.0)), (0.62, (13.0, 26.0)), (0.30, (26.0, 42.0)))
_MIN_RADIUS = {"ring": 11.0, "paw": 16.0}
# Each class has its colour, as fruits do; the hues of neighbours run into each other, shapes decide then.
_HUES = {"box": 0.60, "star": 0.14, "ring": 0.0, "blob": 0.36, "paw": 0.82}
_MIN_INSIDE = 0.6  # of an object, inside the picture
_MIN_VISIBLE = 0.5  # of what is inside the picture, not hidden
_MIN_PIXELS = 30
_TRIES = 12


@dataclass(eq=False, kw_only=True)
class ToyObject:
    """An object, or a crowd of them, and the pixels in which it is seen."""

    label: int  # 1, 2, ... as in CLASS_NAMES
    visible: Mask  # (H, W)
    full_area: int  # pixels inside the picture, hidden ones too
    outline: Outline | None  # None: a crowd
    inside: bool  # the whole outline lies in the picture

    @property
    def is_crowd(self) -> bool:
        """Whether this is a swarm annotated as one region."""
        return self.outline is None

    @property
    def is_whole(self) -> bool:
        """Whether nothing of it is hidden or cut off."""
        return self.inside and int(self.visible.sum()) == self.full_area


@dataclass(frozen=True, eq=False, kw_only=True)
class ToyScene:
    """A picture with its objects, the hindmost first."""

    image: npt.NDArray[np.uint8]  # (H, W, 3) RGB
    objects: tuple[ToyObject, ...]


def draw_scene(rng: np.random.Generator) -> ToyScene:
    """Draw one picture."""
    height, width = _draw_size(rng)
    canvas = paint_background(rng, height=height, width=width)
    _scribble(rng, canvas)
    objects: list[ToyObject] = []
    if rng.random() >= _EMPTY_SHARE:
        if rng.random() < _CROWD_SHARE:
            _add_crowd(rng, canvas, objects)
        for _ in range(int(rng.integers(1, _MAX_OBJECTS + 1))):
            _add_object(rng, canvas, objects)
    canvas += rng.normal(0, rng.uniform(1, 6), canvas.shape).astype(np.float32)
    image = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    return ToyScene(image=image, objects=tuple(objects))


def _draw_size(rng: np.random.Generator) -> tuple[int, int]:
    short = int(rng.integers(*_SHORT_SIDE))
    long = round(short * rng.uniform(1.0, _MAX_ASPECT))
    return (short, long) if rng.random() < 0.5 else (long, short)


def _scribble(rng: np.random.Generator, canvas: Pixels) -> None:
    """Thin soft strokes that belong to nothing, so that an edge alone is no object."""
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(0, 5))):
        stroke = Image.new("L", (width, height), 0)
        ends = rng.uniform(-0.1, 1.1, (3, 2)) * (width, height)
        thickness = int(rng.integers(1, 4))
        ImageDraw.Draw(stroke).line([(x, y) for x, y in ends], fill=255, width=thickness)
        soft = np.asarray(stroke.filter(ImageFilter.GaussianBlur(1)), dtype=np.float32)
        _blend(
            canvas, draw_muted_colour(rng), soft / np.float32(255), opacity=rng.uniform(0.2, 0.6)
        )


def _blend(canvas: Pixels, colour: Pixels, alpha: Coverage, *, opacity: float = 1.0) -> None:
    """Paint on the canvas (H, W, 3): a colour (3,) or one for each pixel, through alpha (H, W)."""
    canvas += (colour - canvas) * (alpha * np.float32(opacity))[..., None]


def _draw_radius(rng: np.random.Generator, name: str) -> float:
    chances = [share for share, _ in _RADII]
    low, high = _RADII[rng.choice(len(_RADII), p=chances)][1]
    radius = math.exp(rng.uniform(math.log(low), math.log(high)))
    return max(radius, _MIN_RADIUS.get(name, 0.0) * rng.uniform(1.0, 1.3))


def _add_object(rng: np.random.Generator, canvas: Pixels, objects: list[ToyObject]) -> None:
    """Paint one object in front of the others, where a place is found for it."""
    height, width = canvas.shape[:2]
    label = int(rng.integers(len(CLASS_NAMES))) + 1
    name = CLASS_NAMES[label - 1]
    shape, radius = OUTLINES[name](rng), _draw_radius(rng, name)
    for _ in range(_TRIES):
        outline = shape.placed(
            centre=(rng.uniform(0, width), rng.uniform(0, height)),
            radius=radius,
            angle=rng.uniform(0, 2 * math.pi),
        )
        inside_share = _share_inside(outline, width=width, height=height)
        if inside_share < _MIN_INSIDE:
            continue
        coverage = coverage_of(outline, width=width, height=height)
        mask = coverage >= 0.5
        if mask.sum() >= _MIN_PIXELS and _leaves_visible(mask, objects):
            _paint(rng, canvas, coverage, hue=_HUES[name])
            for other in objects:
                other.visible &= ~mask
            objects.append(
                ToyObject(
                    label=label,
                    visible=mask,
                    full_area=int(mask.sum()),
                    outline=outline,
                    inside=inside_share == 1.0,
                )
            )
            return


def _share_inside(outline: Outline, *, width: int, height: int) -> float:
    """About what share of the outline's bounding box lies in the picture."""
    points = np.concatenate(outline.parts)
    low, high = points.min(axis=0), points.max(axis=0)
    clipped = np.minimum(high, (width, height)) - np.maximum(low, 0.0)
    return float(np.prod(np.maximum(clipped, 0.0) / (high - low)))


def _leaves_visible(mask: Mask, objects: list[ToyObject]) -> bool:
    for other in objects:
        seen = int((other.visible & ~mask).sum())
        if seen < max(_MIN_VISIBLE * other.full_area, _MIN_PIXELS):
            return False
    return True


def _window_of(coverage: Coverage, *, margin: int) -> tuple[slice, slice]:
    """Rows and columns that hold everything covered, and a margin."""
    rows, columns = np.flatnonzero(coverage.any(axis=1)), np.flatnonzero(coverage.any(axis=0))
    return (
        slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + margin + 1),
        slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + margin + 1),
    )


def _paint(rng: np.random.Generator, canvas: Pixels, coverage: Coverage, *, hue: float) -> None:
    """Lay a soft shadow and the object itself on the canvas."""
    window = _window_of(coverage, margin=6)
    patch, alpha = canvas[window], coverage[window]
    beneath = np.average(patch.reshape(-1, 3), axis=0, weights=alpha.reshape(-1))
    _blend(patch, np.zeros(3, dtype=np.float32), _shadow_of(alpha), opacity=rng.uniform(0.1, 0.4))
    colour = draw_colour(rng, hue=hue, unlike=beneath.astype(np.float32))
    fill = paint_fill(rng, colour=colour, height=patch.shape[0], width=patch.shape[1])
    _blend(patch, fill, alpha)


def _shadow_of(alpha: Coverage) -> Coverage:
    """The same shape, blurred, two pixels lower and one to the right."""
    lower_right = np.pad(alpha, ((2, 0), (1, 0)))[:-2, :-1]
    shadow = Image.fromarray((lower_right * 255).astype(np.uint8))
    blurred: Coverage = np.asarray(shadow.filter(ImageFilter.GaussianBlur(2)), dtype=np.float32)
    return blurred / np.float32(255)


def _add_crowd(rng: np.random.Generator, canvas: Pixels, objects: list[ToyObject]) -> None:
    """Paint a swarm of specks too many to tell apart: one region of blobs, `iscrowd`."""
    height, width = canvas.shape[:2]
    spread = rng.uniform(0.08, 0.16, 2) * (width, height)
    middle = rng.uniform(0.25, 0.75, 2) * (width, height)
    region = np.zeros((height, width), dtype=np.bool_)
    for _ in range(int(rng.integers(18, 36))):
        x, y = np.clip(rng.normal(middle, spread), 3, (width - 3, height - 3))
        speck = OUTLINES["blob"](rng).placed(
            centre=(float(x), float(y)), radius=rng.uniform(2.2, 4.5), angle=0.0
        )
        coverage = coverage_of(speck, width=width, height=height)
        _paint(rng, canvas, coverage, hue=_HUES["blob"])
        region |= coverage >= 0.5
    objects.append(
        ToyObject(
            label=CLASS_NAMES.index("blob") + 1,
            visible=region,
            full_area=int(region.sum()),
            outline=None,
            inside=True,
        )
    )
