"""Cityscapes' images of instance numbers as a COCO annotation file.

H, W: height and width of the image.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maskrcnn_benchmark.data.datasets.cityscapes_files import (
    INSTANCE_CLASS_IDS,
    INSTANCES_PER_CLASS,
    MASK_FILE,
    POLYGON_FILE,
    InstanceImage,
    read_instance_image,
    read_polygon_file,
)
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.structures.outlines import outline_masks

# Those that Cityscapes' own evaluation counts: all with instances but caravan and trailer.
EVALUATED_CLASSES = (
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)
_CLASS_NAMES = {number: name for name, number in INSTANCE_CLASS_IDS.items()}
_REPORT_EVERY = 50


@dataclass(frozen=True)
class InstancePart:
    """One object of an image of instance numbers.

    Attributes:
        label: name of its class.
        number: its pixels' value.
        box: x1, y1, x2, y2 of its pixels, inclusive.
        pixels: how many they are.
        polygons: outer outlines of its parts, flat x0, y0, x1, y1, ..., along the edges of pixels.
    """

    label: str
    number: int
    box: tuple[int, int, int, int]
    pixels: int
    polygons: list[list[float]]


def list_instances(found: InstanceImage) -> Iterator[InstancePart]:
    """The objects of an image, ascending by number, those of unknown classes left out."""
    for number, box in zip(found.numbers.tolist(), found.boxes.tolist(), strict=True):
        label = _CLASS_NAMES.get(number // INSTANCES_PER_CLASS)
        if label is None:
            continue
        x1, y1, x2, y2 = box
        mask = found.pixels[y1 : y2 + 1, x1 : x2 + 1] == number
        offset = np.array([x1, y1])
        outlines = outline_masks(torch.from_numpy(mask))
        polygons = [(part.numpy().reshape(-1, 2) + offset).ravel().tolist() for part in outlines]
        yield InstancePart(label, number, (x1, y1, x2, y2), int(mask.sum()), polygons)


@dataclass
class CityscapesConverter:
    """Converts one set after the other; ids run on over all of them.

    An object of several parts has several polygons; holes are filled. (The old tool left out an object any part of
    which was only a line or a pixel.)

    Attributes:
        classes: names of those that are kept.
        report: gets a line of text now and then.
        category_ids: name -> id, from 1 in the order of first appearance.
    """

    classes: tuple[str, ...] = EVALUATED_CLASSES
    report: Callable[[str], Any] = print
    category_ids: dict[str, int] = field(default_factory=dict)
    _images: int = 0
    _annotations: int = 0

    @property
    def categories(self) -> list[dict[str, Any]]:
        """COCO's entries of the classes seen so far; complete after the last set."""
        return [{"id": number, "name": name} for name, number in self.category_ids.items()]

    def convert(self, folder: str | os.PathLike[str]) -> dict[str, Any]:
        """Return what a COCO annotation file of a set (gtFine/val, say) holds.

        Raises:
            DatasetError: if there is no annotation in the folder, or one cannot be read.
        """
        files = sorted(Path(folder).glob(f"**/*_{POLYGON_FILE}"))
        if not files:
            raise DatasetError(
                f"'{os.fspath(folder)}': expected files CITY/NAME_gtFine_{POLYGON_FILE}, found none"
            )
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for path in files:
            if len(images) % _REPORT_EVERY == 0:
                self.report(f"Processed {len(images)} images, {len(annotations)} annotations")
            image = self._image_entry(path)
            images.append(image)
            masks = path.with_name(image["seg_file_name"])
            annotations.extend(self._object_entries(masks, image))
        self.report(f"Num categories: {len(self.categories)}")
        self.report(f"Num images: {len(images)}")
        self.report(f"Num annotations: {len(annotations)}")
        return {"images": images, "categories": self.categories, "annotations": annotations}

    def _image_entry(self, path: Path) -> dict[str, Any]:
        size = read_polygon_file(path)
        name = path.name.removesuffix(POLYGON_FILE)  # ..._gtFine_
        entry = {
            "id": self._images,
            "width": size.width,
            "height": size.height,
            "file_name": name.rstrip("_").rpartition("_")[0] + "_leftImg8bit.png",
            "seg_file_name": name + MASK_FILE,
        }
        self._images += 1
        return entry

    def _object_entries(self, path: Path, image: dict[str, Any]) -> Iterator[dict[str, Any]]:
        found = read_instance_image(path)
        if found.pixels.shape != (image["height"], image["width"]):
            raise DatasetError(
                f"'{path}' has {found.pixels.shape[1]} x {found.pixels.shape[0]} pixels, but its polygon file "
                f"says {image['width']} x {image['height']}"
            )
        for part in list_instances(found):
            if part.label not in self.classes:
                continue
            x1, y1, x2, y2 = part.box
            yield {
                "id": self._annotations,
                "image_id": image["id"],
                "category_id": self.category_ids.setdefault(part.label, len(self.category_ids) + 1),
                "segmentation": part.polygons,
                "bbox": [x1, y1, x2 - x1 + 1, y2 - y1 + 1],
                "area": part.pixels,
                "iscrowd": 0,
            }
            self._annotations += 1
