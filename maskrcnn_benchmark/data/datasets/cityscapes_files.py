"""Annotation files of Cityscapes: images of instance numbers, and polygons in JSON.

H, W: height and width of the image.    N: instances.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskrcnn_benchmark.errors import DatasetError

# Cityscapes' numbers of the classes whose objects are told apart, in its order.
INSTANCE_CLASS_IDS: dict[str, int] = {
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "caravan": 29,
    "trailer": 30,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
# A pixel of an instance holds class * 1000 + number; smaller values are classes without instances, or groups.
INSTANCES_PER_CLASS = 1000

MASK_FILE = "instanceIds.png"
POLYGON_FILE = "polygons.json"

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class InstanceImage:
    """The objects of an image of instance numbers, ascending by number.

    Attributes:
        pixels: (H, W) numbers.
        numbers: (N,) those of instances.
        boxes: (N, 4) xyxy of their pixels, inclusive.
    """

    pixels: IntArray
    numbers: IntArray
    boxes: IntArray

    @property
    def class_ids(self) -> IntArray:
        """(N,) Cityscapes' numbers of the classes."""
        return self.numbers // INSTANCES_PER_CLASS


@dataclass(frozen=True)
class Outline:
    """An object of a polygon file.

    Attributes:
        label: name of the class.
        points: x0, y0, x1, y1, ...
    """

    label: str
    points: tuple[float, ...]


@dataclass(frozen=True)
class PolygonFile:
    """What a polygon file says about its image.

    Attributes:
        width: W.
        height: H.
        outlines: its objects, back to front.
    """

    width: int
    height: int
    outlines: tuple[Outline, ...]


def read_instance_image(path: str | os.PathLike[str]) -> InstanceImage:
    """Read an image of instance numbers.

    Raises:
        DatasetError: if there is no such file, or it is no image of one channel.
    """
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image).astype(np.int64)
    except FileNotFoundError as error:
        raise DatasetError(_missing(path)) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DatasetError(
            f"'{os.fspath(path)}' cannot be read: {error}. It is damaged or no image; replace it."
        ) from error
    if pixels.ndim != 2:
        raise DatasetError(
            f"'{os.fspath(path)}': expected one channel of instance numbers (16 bits), got an image of "
            f"shape {pixels.shape}. Is it a colour image (gtFine_color.png)?"
        )
    rows, columns = np.nonzero(pixels >= INSTANCES_PER_CLASS)
    numbers, owner = np.unique(pixels[rows, columns], return_inverse=True)
    boxes = np.empty((len(numbers), 4), dtype=np.int64)
    boxes[:, :2], boxes[:, 2:] = max(pixels.shape), -1
    for axis, values in ((0, columns), (1, rows)):
        np.minimum.at(boxes[:, axis], owner, values)
        np.maximum.at(boxes[:, axis + 2], owner, values)
    return InstanceImage(pixels, numbers, boxes)


def read_polygon_file(path: str | os.PathLike[str]) -> PolygonFile:
    """Read a polygon file.

    Raises:
        DatasetError: if there is no such file, or it is not in Cityscapes' form; the message says where.
    """
    try:
        content = json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise DatasetError(_missing(path)) from error
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"'{os.fspath(path)}' is no JSON that can be read: {error}. Replace it."
        ) from error
    try:
        size = int(content["imgWidth"]), int(content["imgHeight"])
        objects = [entry for entry in content["objects"] if not entry.get("deleted")]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise DatasetError(
            f"'{os.fspath(path)}': expected an object with imgWidth, imgHeight and a list of objects, as "
            f"Cityscapes has it, got something else ({error!r}). Replace it."
        ) from error
    outlines = (_read_outline(entry, number, path) for number, entry in enumerate(objects))
    return PolygonFile(*size, tuple(outlines))


def _read_outline(entry: Mapping[str, Any], number: int, path: str | os.PathLike[str]) -> Outline:
    try:
        points = tuple(float(value) for x, y in entry["polygon"] for value in (x, y))
        if not all(map(math.isfinite, points)):
            raise ValueError("a coordinate is not finite")
        return Outline(str(entry["label"]), points)
    except (TypeError, KeyError, ValueError) as error:
        raise DatasetError(
            f"'{os.fspath(path)}': object {number}: expected a label and a polygon [[x, y], ...] of numbers "
            f"({error!r}). Correct it."
        ) from error


def _missing(path: str | os.PathLike[str]) -> str:
    return (
        f"annotation file not found: '{os.fspath(path)}'. Each image CITY/NAME_leftImg8bit.png needs "
        f"CITY/NAME_gtFine_{MASK_FILE} and _{POLYGON_FILE}; take gtFine_trainvaltest.zip of Cityscapes"
    )
