"""Colours for objects: far apart for different classes, near each other for objects of one class."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Literal

Color = tuple[int, int, int]
ColorBy = Literal["class", "instance"]

# Steps of the golden angle never meet again and keep any number of hues well apart.
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
_FIRST_HUE = 0.45  # An orange red.
_CHROMA = 0.17
_LIGHTNESS = (0.72, 0.60, 0.82)  # Taken in turn.

# How objects of one class differ: (lightness, hue in radians), in turn.
_SHADES = ((0.0, 0.0), (0.08, 0.16), (-0.08, -0.16), (0.05, -0.26), (-0.05, 0.26))


def color_of(index: int) -> Color:
    """The colour of class or object number `index`; the same in every picture."""
    return _oklch_to_rgb(
        _LIGHTNESS[index % len(_LIGHTNESS)], _CHROMA, _FIRST_HUE + index * _GOLDEN_ANGLE
    )


def object_colors(labels: Iterable[int], *, by: ColorBy = "class") -> list[Color]:
    """A colour for each object of one picture.

    Args:
        labels: class of each object, from 1.
        by: "class": the class decides, and objects of one class differ in shade; "instance": all differ.
    """
    if by == "instance":
        return [color_of(position) for position, _ in enumerate(labels)]
    seen: Counter[int] = Counter()
    colors = []
    for label in labels:
        lightness, hue = _SHADES[seen[label] % len(_SHADES)]
        seen[label] += 1
        index = label - 1
        colors.append(
            _oklch_to_rgb(
                _LIGHTNESS[index % len(_LIGHTNESS)] + lightness,
                _CHROMA,
                _FIRST_HUE + index * _GOLDEN_ANGLE + hue,
            )
        )
    return colors


def text_color_on(background: Color) -> Color:
    """Black or white, whichever reads better."""
    red, green, blue = (_to_linear(channel / 255) for channel in background)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    # Where both have the same WCAG contrast: (1.05 / (l + .05)) = ((l + .05) / .05).
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


def _to_linear(value: float) -> float:
    """Light of an sRGB channel, both in [0, 1]."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _oklch_to_rgb(lightness: float, chroma: float, hue: float) -> Color:
    """The sRGB values of a colour in OKLCH, a space in which equal steps look equal (Ottosson 2020)."""
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    red, green, blue = (_to_channel(value) for value in linear)
    return red, green, blue


def _to_channel(linear: float) -> int:
    """The sRGB channel 0..255 of light, cut where the screen has no such colour."""
    linear = min(max(linear, 0.0), 1.0)
    value = 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
    return round(255 * value)
