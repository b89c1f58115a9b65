"""What toy images are painted with: colours, patterns and backgrounds.

H, W: height and width of the patch. Colours are RGB, float32, 0 to 255 and not yet clipped.
"""

from __future__ import annotations

import colorsys
import math

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.float32]  # (H, W, 3) colours, or (H, W) one number a pixel

# Distance in RGB that an object's colour keeps from what it is painted upon. An object may still be
# hard to tell from a neighbour, or from one patch of the background.
_MIN_CONTRAST = 75.0
_HUE_SPREAD = 0.045  # of the objects of a class: neighbouring classes just overlap


def draw_colour(rng: np.random.Generator, *, hue: float, unlike: Pixels) -> Pixels:
    """Draw a vivid colour (3,) near a hue (0 to 1), visibly unlike another colour (3,) if it can be."""
    for _ in range(50):
        turned = (hue + rng.normal(0, _HUE_SPREAD)) % 1.0
        hsv = turned, rng.uniform(0.55, 1.0), rng.uniform(0.45, 1.0)
        colour = np.array(colorsys.hsv_to_rgb(*hsv), dtype=np.float32) * 255
        if float(np.linalg.norm(colour - unlike)) >= _MIN_CONTRAST:
            break
    return colour


def draw_muted_colour(rng: np.random.Generator) -> Pixels:
    """Draw a colour (3,) of stone, wood or cloth."""
    hsv = rng.uniform(0, 1), rng.uniform(0.0, 0.3), rng.uniform(0.3, 0.95)
    return np.array(colorsys.hsv_to_rgb(*hsv), dtype=np.float32) * 255


def smooth_noise(rng: np.random.Generator, *, height: int, width: int, cell: float) -> Pixels:
    """Soft bumps (H, W) from -1 to 1, about `cell` pixels apart."""
    rows, columns = max(2, round(height / cell)), max(2, round(width / cell))
    coarse = Image.fromarray(rng.uniform(-1, 1, (rows, columns)).astype(np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)


def _ramp(*, height: int, width: int, angle: float) -> Pixels:
    """Pixels along a direction, (H, W), 0 in the middle."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    along: Pixels = (x - width / 2) * math.cos(angle) + (y - height / 2) * math.sin(angle)
    return along


def _plain(rng: np.random.Generator, height: int, width: int) -> Pixels:
    return np.zeros((height, width), dtype=np.float32)


def _stripes(rng: np.random.Generator, height: int, width: int) -> Pixels:
    period, shift = rng.uniform(5, 14), rng.uniform(0, 2 * math.pi)
    along = _ramp(height=height, width=width, angle=rng.uniform(0, math.pi))
    waves: Pixels = np.clip(2.5 * np.sin(along * (2 * math.pi / period) + shift), -1, 1)
    return waves


def _checks(rng: np.random.Generator, height: int, width: int) -> Pixels:
    period, angle = rng.uniform(8, 18), rng.uniform(0, math.pi / 2)
    across = np.sin(_ramp(height=height, width=width, angle=angle) * (2 * math.pi / period))
    down = np.sin(
        _ramp(height=height, width=width, angle=angle + math.pi / 2) * (2 * math.pi / period)
    )
    checks: Pixels = np.clip(4.0 * across * down, -1, 1)
    return checks


def _marble(rng: np.random.Generator, height: int, width: int) -> Pixels:
    return smooth_noise(rng, height=height, width=width, cell=rng.uniform(4, 12))


def _grain(rng: np.random.Generator, height: int, width: int) -> Pixels:
    return rng.normal(0, 0.55, (height, width)).astype(np.float32)


_PATTERNS = (_plain, _stripes, _checks, _marble, _grain)


def _draw_pattern(
    rng: np.random.Generator, *, height: int, width: int, chances: tuple[float, ...]
) -> Pixels:
    """One pattern (H, W) from about -1 to 1; `chances` are those of `_PATTERNS`, in order."""
    return _PATTERNS[rng.choice(len(_PATTERNS), p=chances)](rng, height, width)


def paint_background(rng: np.random.Generator, *, height: int, width: int) -> Pixels:
    """A background (H, W, 3): two colours running into each other, bumps, a pattern."""
    first = draw_muted_colour(rng)
    second = 0.55 * first + 0.45 * draw_muted_colour(rng)
    blend = smooth_noise(rng, height=height, width=width, cell=rng.uniform(40, 110)) * 0.35 + 0.5
    slope = _ramp(height=height, width=width, angle=rng.uniform(0, 2 * math.pi))
    blend = np.clip(blend + slope * (rng.uniform(0, 0.6) / max(height, width)), 0, 1)[..., None]
    pattern = _draw_pattern(rng, height=height, width=width, chances=(0.15, 0.2, 0.15, 0.3, 0.2))
    bumps = smooth_noise(rng, height=height, width=width, cell=rng.uniform(10, 30))
    light = rng.uniform(6, 22) * pattern + rng.uniform(4, 14) * bumps
    painted: Pixels = (first * (1 - blend) + second * blend + light[..., None]).astype(np.float32)
    return painted


def paint_fill(rng: np.random.Generator, *, colour: Pixels, height: int, width: int) -> Pixels:
    """What fills an object (H, W, 3): its colour, lit from one side, with or without a pattern."""
    pattern = _draw_pattern(rng, height=height, width=width, chances=(0.35, 0.2, 0.15, 0.15, 0.15))
    slope = _ramp(height=height, width=width, angle=rng.uniform(0, 2 * math.pi))
    light = rng.uniform(8, 38) * pattern + slope * (rng.uniform(0, 60) / max(height, width))
    fill: Pixels = (colour + light[..., None]).astype(np.float32)
    return fill
