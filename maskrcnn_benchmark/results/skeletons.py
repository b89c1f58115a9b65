"""Keypoints in a picture: a dot for each, and the lines of the skeleton between those that are shown.

N: objects.    K: keypoints of an object.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import ImageDraw

from maskrcnn_benchmark.results.keypoints import FoundKeypoints
from maskrcnn_benchmark.results.palette import Color, text_color_on

# COCO's visibility of a keypoint that is annotated where something hides it: a ring instead of a dot.
_HIDDEN = 1


def draw_skeletons(
    pen: ImageDraw.ImageDraw,
    keypoints: FoundKeypoints,
    colors: Sequence[Color],
    *,
    scale: tuple[float, float],
    line: int,
) -> None:
    """Draw the keypoints of all objects.

    Args:
        pen: draws on the picture.
        keypoints: in pixels of the image.
        colors: of each object.
        scale: pixels of the picture per pixel of the image, along x and y.
        line: width of the lines in pixels of the picture.
    """
    # A keypoint at x is in the middle of that pixel.
    places = ((keypoints.points[..., :2] + 0.5) * np.array(scale)).tolist()
    is_ground_truth = keypoints.scores is None
    thick = line + 1  # Thinner than that, the dark edges are all one sees of a line.
    for index, (shown, color) in enumerate(zip(keypoints.is_shown, colors, strict=True)):
        edge = text_color_on(color)
        own = [tuple(place) for place in places[index]]
        for first, second in keypoints.schema.skeleton:
            if shown[first] and shown[second]:
                pen.line((*own[first], *own[second]), fill=edge, width=thick + 2)
        for first, second in keypoints.schema.skeleton:
            if shown[first] and shown[second]:
                pen.line((*own[first], *own[second]), fill=color, width=thick)
        radius = thick + 1
        for number in np.flatnonzero(shown).tolist():
            x, y = own[number]
            is_hidden = is_ground_truth and keypoints.points[index, number, 2] == _HIDDEN
            pen.ellipse(
                (x - radius, y - radius, x + radius, y + radius),
                fill=edge if is_hidden else color,
                outline=color if is_hidden else edge,
            )
