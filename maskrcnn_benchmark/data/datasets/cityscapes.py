"""Images and annotations in Cityscapes' own format."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from maskrcnn_benchmark.data.datasets.abstract import AbstractDataset
from maskrcnn_benchmark.data.datasets.cityscapes_files import (
    INSTANCE_CLASS_IDS,
    MASK_FILE,
    POLYGON_FILE,
    read_instance_image,
    read_polygon_file,
)
from maskrcnn_benchmark.data.datasets.images import read_image
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.structures.binary_masks import BinaryMaskList
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from maskrcnn_benchmark.structures.sizes import WidthHeight

Mode = Literal["mask", "poly"]

_IMAGE_ENDING = "_leftImg8bit.png"
# A polygon needs three points to enclose anything.
_MIN_NUMBERS = 6

logger = logging.getLogger(__name__)


class CityScapesDataset(AbstractDataset):
    """Samples (image, BoxList, index) of Cityscapes' folders.

        img_dir/SPLIT/CITY/NAME_leftImg8bit.png
        ann_dir/SPLIT/CITY/NAME_gtFine_instanceIds.png    (mode "mask")
        ann_dir/SPLIT/CITY/NAME_gtFine_polygons.json      (mode "poly")

    The BoxList has the fields `labels` and `masks`. Boxes are those of an object's pixels (mode "mask") or of the whole
    numbers of its polygon (mode "poly", where an object that is partly covered keeps its whole outline). Groups of
    objects that are not told apart are left out.

    Attributes:
        CLASSES: "__background__" and the ten classes with instances.
        categories: label -> name, without background.
        id_to_img_map: index -> name of the image.
    """

    CLASSES = ("__background__", *INSTANCE_CLASS_IDS)

    def __init__(
        self,
        img_dir: str | os.PathLike[str],
        ann_dir: str | os.PathLike[str],
        split: str,
        mode: Mode = "mask",
        transforms: Callable[..., Any] | None = None,
        min_area: float = 0,
        mini: int | None = None,
        *,
        replace_empty: bool = True,
    ) -> None:
        """List the images of a split; they and their annotations are read when they are asked for.

        Args:
            img_dir: folder of the splits' images (leftImg8bit).
            ann_dir: folder of the splits' annotations (gtFine).
            split: "train", "val" or "test".
            mode: masks as pixels ("mask") or as polygons ("poly").
            transforms: called with (image, target).
            min_area: objects with less, in (x2 - x1) * (y2 - y1), are left out.
            mini: take about so many images, evenly spread.
            replace_empty: let the next image with objects stand in for one without, as the old project always did.
                For scoring this must be off, or what is found in empty images does not count.

        Raises:
            DatasetError: if there are no images, or an annotation file is missing.
        """
        super().__init__()
        self.initMaps()
        self.categories = {label: name for label, name in self.id_to_name.items() if label}
        if mode not in ("mask", "poly"):
            raise DatasetError(f"mode must be 'mask' or 'poly', got {mode!r}")
        self.mode = mode
        self.split = split
        self.transforms = transforms
        self.min_area = min_area
        self.replace_empty = replace_empty
        images = _find_images(Path(img_dir), split)
        if mini is not None:
            images = images[:: len(images) // mini + 1]
        self._images = images
        self._annotations = [self._find_annotation(path, Path(ann_dir)) for path in images]
        self._sizes: dict[int, tuple[int, int]] = {}
        self.id_to_img_map = {index: self._name(index) for index in range(len(images))}

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Any, Any, int]:
        """Sample as (image, target, index).

        Raises:
            DatasetError: if a file cannot be read, or image and annotations are of different sizes.
        """
        index = range(len(self))[index]
        number, target = index, self.get_groundtruth(index)
        if self.replace_empty and not len(target):
            number, target = self._next_with_objects(index, target)
        image = read_image(self._images[number])
        if image.size != target.size:
            raise DatasetError(
                f"image '{self._images[number]}' has {image.size[0]} x {image.size[1]} pixels, but "
                f"'{self._annotations[number]}' is for {target.size.width} x {target.size.height}"
            )
        if self.transforms is not None:
            image, target = self.transforms(image, target)
        return image, target, index

    def get_groundtruth(self, index: int) -> BoxList:
        """The target of an image, before any transform."""
        path = self._annotations[index]
        target = (
            self._target_of_pixels(path) if self.mode == "mask" else self._target_of_polygons(path)
        )
        corners = target.bbox
        area = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
        return target if bool((area >= self.min_area).all()) else target[area >= self.min_area]

    def get_img_info(self, index: int) -> dict[str, Any]:
        """Height, width, file_name and id of an image.

        The old project said 1024 x 2048 of any image.
        """
        if index not in self._sizes:
            try:
                with Image.open(self._images[index]) as image:
                    self._sizes[index] = image.size
            except (OSError, SyntaxError, ValueError) as error:
                raise DatasetError(
                    f"image file '{self._images[index]}' cannot be read: {error}. Replace it."
                ) from error
        width, height = self._sizes[index]
        return {
            "height": height,
            "width": width,
            "file_name": self._images[index].name,
            "id": self._name(index),
        }

    def _name(self, index: int) -> str:
        return self._images[index].name.removesuffix(_IMAGE_ENDING)

    def _find_annotation(self, image: Path, folder: Path) -> Path:
        """The file of `self.mode` that belongs to an image; gtFine where there are gtFine and gtCoarse."""
        ending = MASK_FILE if self.mode == "mask" else POLYGON_FILE
        name = image.name.removesuffix(_IMAGE_ENDING)
        city = folder / self.split / image.parent.name
        for kind in ("gtFine", "gtCoarse"):
            path = city / f"{name}_{kind}_{ending}"
            if path.is_file():
                return path
        raise DatasetError(
            f"image '{image}' has no annotations: expected '{city / name}_gtFine_{ending}'. Is "
            f"'{folder}' Cityscapes' folder gtFine?"
        )

    def _next_with_objects(self, index: int, empty: BoxList) -> tuple[int, BoxList]:
        for number in range(index + 1, index + len(self)):
            target = self.get_groundtruth(number % len(self))
            if len(target):
                logger.debug("%s has no objects, another takes its place", self._images[index])
                return number % len(self), target
        return index, empty

    def _target_of_pixels(self, path: Path) -> BoxList:
        found = read_instance_image(path)
        labels_by_id = {
            number: self.name_to_id[name] for name, number in INSTANCE_CLASS_IDS.items()
        }
        labels = np.array([labels_by_id.get(int(number), 0) for number in found.class_ids])
        known = np.flatnonzero(labels)
        height, width = found.pixels.shape
        boxes = torch.from_numpy(found.boxes[known]).float()
        masks = found.pixels[None] == found.numbers[known, None, None]
        # Rounded to nearest when resized: "any value above 0", the old rule, would let the objects grow.
        instances = BinaryMaskList(
            torch.from_numpy(masks.astype(np.uint8)), (width, height), threshold=0.5
        )
        target = BoxList(boxes.reshape(-1, 4), WidthHeight(width, height), mode="xyxy")
        target.add_field("labels", torch.from_numpy(labels[known]).to(torch.int64))
        target.add_field("masks", SegmentationMask(instances, (width, height), mode="mask"))
        return target

    def _target_of_polygons(self, path: Path) -> BoxList:
        found = read_polygon_file(path)
        boxes, labels, polygons = [], [], []
        for outline in found.outlines:
            label = self.name_to_id.get(outline.label, 0)
            if label == 0 or len(outline.points) < _MIN_NUMBERS:
                continue
            xs, ys = outline.points[::2], outline.points[1::2]
            boxes.append([int(min(xs)), int(min(ys)), int(max(xs)), int(max(ys))])
            labels.append(label)
            polygons.append([list(outline.points)])
        size = WidthHeight(found.width, found.height)
        target = BoxList(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), size, mode="xyxy")
        target.add_field("labels", torch.tensor(labels, dtype=torch.int64))
        target.add_field("masks", SegmentationMask(polygons, size, mode="poly"))
        # Some outlines run out of the image by a pixel or two.
        return target.clip_to_image(remove_empty=True)


def _find_images(folder: Path, split: str) -> list[Path]:
    images = sorted((folder / split).glob(f"*/*{_IMAGE_ENDING}"))
    if not images:
        raise DatasetError(
            f"there are no images '{folder / split}/CITY/NAME{_IMAGE_ENDING}'. Unpack "
            "leftImg8bit_trainvaltest.zip of Cityscapes and give its folder leftImg8bit."
        )
    return images
