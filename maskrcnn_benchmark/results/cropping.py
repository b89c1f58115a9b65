"""Objects cut out of their image."""

from __future__ import annotations

import numpy as np
from PIL import Image

from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.drawing import Pixels, to_picture
from maskrcnn_benchmark.results.windows import decode_window


def crop(
    image: Image.Image | Pixels,
    detections: Detections,
    *,
    padding: int = 0,
    cut_out: bool = False,
) -> list[Image.Image]:
    """The part of the image around each object, at least one pixel large.

    Args:
        image: the image they were found in, RGB.
        detections: whose boxes are cut.
        padding: pixels around each box, as far as the image goes.
        cut_out: make transparent what is not of the object (RGBA pictures).

    Raises:
        ShapeError: if the image has another size, or masks are wanted where there are none.
    """
    picture = to_picture(image, detections)
    if cut_out:
        detections.check_masks()
    width, height = picture.size
    corners = detections.boxes.astype(np.float64)
    corners[:, :2] = np.floor(corners[:, :2]) - padding
    corners[:, 2:] = np.ceil(corners[:, 2:] + detections.box_offset) + padding
    pictures = []
    for index, (x1, y1, x2, y2) in enumerate(corners.astype(np.int64).tolist()):
        left, top = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
        right, bottom = min(max(x2, left + 1), width), min(max(y2, top + 1), height)
        part = picture.crop((left, top, right, bottom))
        if cut_out and detections.masks is not None:
            window = decode_window(
                detections.masks[index],
                top=top,
                left=left,
                height=bottom - top,
                width=right - left,
            )
            part.putalpha(Image.fromarray(window.astype(np.uint8) * 255))
        pictures.append(part)
    return pictures
