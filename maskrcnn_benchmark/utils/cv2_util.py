"""One call of OpenCV that returned different things in its versions 3 and 4."""

from __future__ import annotations

import importlib
from typing import Any

from maskrcnn_benchmark.errors import MissingExtraError


def findContours(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Outlines of a binary picture, as `cv2.findContours` of version 4: (contours, hierarchy).

    `structures.outlines.outline_masks` needs no OpenCV; its outlines run along the edges of pixels,
    OpenCV's through their centres.

    Raises:
        MissingExtraError: if OpenCV is not installed.
    """
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError as error:
        raise MissingExtraError(
            "opencv-python-headless", extra="demo", purpose="cv2_util.findContours"
        ) from error
    contours, hierarchy = cv2.findContours(*args, **kwargs)[-2:]
    return contours, hierarchy
