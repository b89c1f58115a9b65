"""Detections as a picture of numbers: each pixel says which object it belongs to, 0 for none.

A PNG of 16-bit grey. What numbers cannot say (classes, scores, boxes, the order of objects) is text inside the file.
"""

from __future__ import annotations

import json
import os

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.masks import encode_mask
from maskrcnn_benchmark.results.windows import cut
from maskrcnn_benchmark.structures.sizes import HeightWidth
from maskrcnn_benchmark.utils.atomic import atomic_write

PathLike = str | os.PathLike[str]

_KEY = "maskrcnn-benchmark"
_MOST = 65535


def instance_map(detections: Detections) -> np.ndarray:
    """Numbers (H, W) uint16: position of the object + 1; where masks overlap, that of the highest score.

    Raises:
        ShapeError: if there are no masks.
        DatasetError: for more than 65535 objects.
    """
    masks = detections.check_masks()
    if len(masks) > _MOST:
        raise DatasetError(f"a PNG of 16 bits numbers {_MOST} objects, got {len(masks)}")
    numbers = np.zeros(detections.image_size, dtype=np.uint16)
    for index in np.argsort(detections.scores, kind="stable").tolist():
        top, left, window = cut(masks[index])
        height, width = window.shape
        numbers[top : top + height, left : left + width][window] = index + 1
    return numbers


def write_png(path: PathLike, detections: Detections) -> None:
    """Write the numbers, and what they stand for."""
    about = detections.to_dict()
    for name in ("masks", "keypoints"):
        del about[name]
    info = PngInfo()
    info.add_itxt(_KEY, json.dumps(about))
    with atomic_write(path, "wb") as file:
        Image.fromarray(instance_map(detections)).save(file, format="PNG", pnginfo=info)


def read_png(path: PathLike) -> Detections:
    """Read what `write_png` wrote; what lay below another object is lost.

    Raises:
        DatasetError: if it is another file.
    """
    try:
        with Image.open(path) as image:
            image.load()
            text = image.info.get(_KEY)
            numbers = np.asarray(image)
    except OSError as error:
        raise DatasetError(f"'{path}' cannot be read as a picture: {error}") from error
    if text is None:
        raise DatasetError(
            f"'{path}' does not say what its numbers stand for; write it with write_png"
        )
    about = json.loads(text)
    count = len(about["labels"])
    return Detections(
        image_size=HeightWidth(about["height"], about["width"]),
        boxes=np.array(about["boxes"], dtype=np.float32).reshape(-1, 4),
        scores=np.array(about["scores"]),
        labels=np.array(about["labels"], dtype=np.int64),
        class_names=tuple(about["class_names"]),
        masks=[encode_mask(numbers == number) for number in range(1, count + 1)],
        image_id=about["image_id"],
        path=about["path"],
        box_offset=about["box_offset"],
    )
