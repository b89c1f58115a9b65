"""Annotation files of Pascal VOC: one XML file per image."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from maskrcnn_benchmark.data.datasets.problems import Problem
from maskrcnn_benchmark.errors import DatasetError

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class VOCObject:
    """One `<object>`.

    Attributes:
        name: class, in lower case.
        box: x1, y1, x2, y2 in pixels from 0 (the files count from 1), corners inclusive.
        is_difficult: whether finding it neither counts nor harms in VOC's evaluation.
    """

    name: str
    box: tuple[float, float, float, float]
    is_difficult: bool


@dataclass(frozen=True)
class VOCImage:
    """What a file says about its image.

    Attributes:
        width: in pixels.
        height: in pixels.
        file_name: of the image, perhaps empty.
        objects: those that can be used, in the order of the file.
        problems: what is wrong with the others.
    """

    width: int
    height: int
    file_name: str
    objects: tuple[VOCObject, ...]
    problems: tuple[Problem, ...]


def read_voc_xml(path: str | os.PathLike[str]) -> VOCImage:
    """Read and check one annotation file.

    Raises:
        DatasetError: if there is no such file, it is no XML, or it does not say the image's size.
    """
    root = _parse(path)
    width, height = (_side(root, side, path) for side in ("width", "height"))
    objects: list[VOCObject] = []
    problems: list[Problem] = []
    for number, element in enumerate(root.findall("object")):
        try:
            objects.append(_read_object(element, width=width, height=height))
        except _BadObjectError as error:
            what = f"object {number} of {os.path.basename(path)}: {error}"
            problems.append(Problem(error.kind, what))
    return VOCImage(width, height, _text(root, "filename"), tuple(objects), tuple(problems))


class _BadObjectError(Exception):
    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def _parse(path: str | os.PathLike[str]) -> ElementTree.Element:
    try:
        root = ElementTree.parse(path).getroot()
    except FileNotFoundError as error:
        raise DatasetError(
            f"annotation file not found: '{os.fspath(path)}'. Add it, or take the image out of the "
            "split's list."
        ) from error
    except (ElementTree.ParseError, OSError, UnicodeError, ValueError) as error:
        raise DatasetError(
            f"annotation file '{os.fspath(path)}' is no XML that can be read: {error}. Correct it, or "
            "take the image out of the split's list."
        ) from error
    if root.tag != "annotation":
        raise DatasetError(
            f"annotation file '{os.fspath(path)}': expected <annotation> as in Pascal VOC, got <{root.tag}>. "
            "Correct it, or take the image out of the split's list."
        )
    return root


def _side(root: ElementTree.Element, name: str, path: str | os.PathLike[str]) -> int:
    text = _text(root, f"size/{name}")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 1):
        raise DatasetError(
            f"annotation file '{os.fspath(path)}': expected the image's {name} in pixels in "
            f"<size><{name}>, got {text!r}. Correct it: batches are made by the sizes of images."
        )
    return int(value)


def _read_object(element: ElementTree.Element, *, width: int, height: int) -> VOCObject:
    name = _text(element, "name").lower()
    if not name:
        raise _BadObjectError("objects without a name", "expected a class in <name>, got none")
    x1, y1, x2, y2 = (value - 1 for value in _corners(element, name))
    # Inclusive corners: a box of one pixel has x1 == x2.
    if x2 < x1 or y2 < y1:
        raise _BadObjectError(
            "empty boxes",
            f"the box of {name!r} has xmin {x1 + 1:g}, xmax {x2 + 1:g}, ymin {y1 + 1:g}, "
            f"ymax {y2 + 1:g}: the maxima must not be smaller than the minima",
        )
    if x1 >= width or y1 >= height or x2 < 0 or y2 < 0:
        raise _BadObjectError(
            "boxes outside the image",
            f"the box of {name!r} ({x1 + 1:g}, {y1 + 1:g}, {x2 + 1:g}, {y2 + 1:g}) lies outside the image of "
            f"{width} x {height}",
        )
    return VOCObject(name, (x1, y1, x2, y2), _text(element, "difficult") in ("1", "true", "True"))


def _corners(element: ElementTree.Element, name: str) -> Iterator[float]:
    for corner in _CORNERS:
        text = _text(element, f"bndbox/{corner}")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise _BadObjectError(
                "boxes that are no numbers",
                f"expected a number in <bndbox><{corner}> of {name!r}, got {text!r}",
            )
        yield value


def _text(element: ElementTree.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()
