"""Images and annotations in Pascal VOC's format."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.utils.data import Dataset

from maskrcnn_benchmark.data.datasets.images import read_image
from maskrcnn_benchmark.data.datasets.problems import OnError, Problem, ProblemList
from maskrcnn_benchmark.data.datasets.voc_xml import VOCImage, VOCObject, read_voc_xml
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.sizes import WidthHeight

# VOC's own names first; the others are those of sets that only borrow the format.
_IMAGE_FOLDERS = ("JPEGImages", "images")
_ANNOTATION_FOLDERS = ("Annotations", "annotations")
_SPLIT_FOLDER = os.path.join("ImageSets", "Main")
_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".JPG", ".JPEG", ".PNG")
# Of lists of one class; -1: the class is not in the image. What comes before it may hold spaces.
_SECOND_COLUMN = re.compile(r"\s+(-1|0|1)$")
# What the split is called when there are no lists of images.
_EVERYTHING = ("", "all")


class PascalVOCDataset(Dataset[Any]):
    """Samples (image, BoxList, index) of a folder in VOC's layout.

        data_dir/Annotations/ID.xml          (or annotations/)
        data_dir/JPEGImages/ID.jpg           (or images/, or the <filename> in the XML)
        data_dir/ImageSets/Main/SPLIT.txt    one ID per line

    The BoxList has the fields `labels` and `difficult` (bool).

    Attributes:
        CLASSES: VOC's twenty, after the background under its old name (with a space).
        class_names: name of each label of this data set, "__background__" first.
        categories: label -> name, without background.
        ids: names of the images, in the order of the split.
        id_to_img_map: index -> name of the image.
        keep_difficult: whether targets hold difficult objects.
    """

    CLASSES: ClassVar[tuple[str, ...]] = (
        "__background__ ",
        "aeroplane",
        "bicycle",
        "bird",
        "boat",
        "bottle",
        "bus",
        "car",
        "cat",
        "chair",
        "cow",
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    )

    def __init__(
        self,
        data_dir: str | os.PathLike[str],
        split: str,
        use_difficult: bool = False,
        transforms: Callable[..., Any] | None = None,
        *,
        classes: Sequence[str] | None = None,
        on_error: OnError = "stop",
    ) -> None:
        """Read and check all annotation files of a split; images are read when they are asked for.

        Args:
            data_dir: the folder that holds `Annotations` and `JPEGImages`.
            split: name of a list in `ImageSets/Main`, or path of a list anywhere; "all" where there are no lists,
                for every annotation.
            use_difficult: keep difficult objects (evaluation needs them); training leaves them out.
            transforms: called with (image, target).
            classes: names of the classes, without background, where they are not VOC's.
            on_error: "stop" raises DatasetError for whatever is wrong with annotations, "skip" leaves it out and
                says how much that was. An image that cannot be decoded is an error in any case.

        Raises:
            DatasetError: see `on_error`; also for a folder that is not in VOC's layout, and if nothing is left.
        """
        self.root = Path(data_dir)
        self.image_set = split
        self.keep_difficult = use_difficult
        self.transforms = transforms
        names = self.CLASSES[1:] if classes is None else [name.strip().lower() for name in classes]
        self.class_names: tuple[str, ...] = ("__background__", *names)
        self.categories = dict(enumerate(names, start=1))
        self._labels = {name: label for label, name in self.categories.items()}
        self._image_folder = _find_folder(self.root, _IMAGE_FOLDERS)
        self._annotation_folder = _find_folder(self.root, _ANNOTATION_FOLDERS)
        self._entries = self._read_entries(_read_split(self.root, split), on_error)
        self.ids = list(self._entries)
        self.id_to_img_map = dict(enumerate(self.ids))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Any, Any, int]:
        """Sample as (image, target, index).

        Raises:
            DatasetError: if the image cannot be read, or has another size than its XML says.
        """
        index = range(len(self))[index]
        path, entry = self._entries[self.ids[index]]
        image = read_image(path)
        if image.size != (entry.width, entry.height):
            raise DatasetError(
                f"image '{path}' has {image.size[0]} x {image.size[1]} pixels, but its XML file says "
                f"{entry.width} x {entry.height}. Correct one of them: boxes would be in the wrong place."
            )
        target = self.get_groundtruth(index).clip_to_image(remove_empty=True)
        if self.transforms is not None:
            image, target = self.transforms(image, target)
        return image, target, index

    def get_groundtruth(self, index: int) -> BoxList:
        """The target of an image, before any transform."""
        _, entry = self._entries[self.ids[index]]
        objects = [each for each in entry.objects if self.keep_difficult or not each.is_difficult]
        boxes = torch.tensor([each.box for each in objects], dtype=torch.float32).reshape(-1, 4)
        target = BoxList(boxes, WidthHeight(entry.width, entry.height), mode="xyxy")
        labels = [self._labels[each.name] for each in objects]
        target.add_field("labels", torch.tensor(labels, dtype=torch.int64))
        difficult = [each.is_difficult for each in objects]
        target.add_field("difficult", torch.tensor(difficult, dtype=torch.bool))
        return target

    def get_img_info(self, index: int) -> dict[str, Any]:
        """Height, width, file_name and id of an image, from its XML file."""
        path, entry = self._entries[self.ids[index]]
        return {
            "height": entry.height,
            "width": entry.width,
            "file_name": os.path.basename(path),
            "id": self.ids[index],
        }

    def map_class_id_to_class_name(self, class_id: int) -> str:
        """Name of a label; 0 is the background."""
        return self.class_names[class_id]

    def _read_entries(
        self, ids: Sequence[str], on_error: OnError
    ) -> dict[str, tuple[str, VOCImage]]:
        """Name -> (path of the image, its annotations)."""
        problems = ProblemList(os.fspath(self._annotation_folder), on_error)
        entries: dict[str, tuple[str, VOCImage]] = {}
        for name in ids:
            try:
                entry = read_voc_xml(self._annotation_folder / f"{name}.xml")
                path = self._find_image(name, entry.file_name)
            except DatasetError as error:
                problems.add(Problem("images", str(error).rstrip(".")))
                continue
            for problem in entry.problems:
                problems.add(problem)
            known = self._known_objects(name, entry, problems)
            entries[name] = (
                path,
                VOCImage(entry.width, entry.height, entry.file_name, known, ()),
            )
        problems.conclude()
        if not entries:
            raise DatasetError(
                f"{self.root}: the split {self.image_set!r} has no image that can be used"
            )
        return entries

    def _known_objects(
        self, name: str, entry: VOCImage, problems: ProblemList
    ) -> tuple[VOCObject, ...]:
        for each in entry.objects:
            if each.name not in self._labels:
                expected = ", ".join(self.class_names[1:])
                problems.add(
                    Problem(
                        "objects of other classes",
                        f"{name}.xml: {each.name!r} is none of the classes {expected}; name the data "
                        "set's own with classes=(...)",
                    )
                )
        return tuple(each for each in entry.objects if each.name in self._labels)

    def _find_image(self, name: str, file_name: str) -> str:
        candidates = [f"{name}{extension}" for extension in _EXTENSIONS]
        for candidate in (*candidates, file_name):
            path = self._image_folder / candidate
            if candidate and path.is_file():
                return os.fspath(path)
        raise DatasetError(
            f"there is no image '{self._image_folder / name}' with one of the endings {', '.join(_EXTENSIONS)}"
            f", nor {file_name!r} as {name}.xml calls it. Add it, or take {name!r} out of the split's list."
        )


def _find_folder(root: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise DatasetError(
        f"'{root}': expected a folder {' or '.join(names)}, as in Pascal VOC (JPEGImages, Annotations, "
        f"ImageSets/Main), found {_found(root)}. Give the folder that holds them, such as VOCdevkit/VOC2007."
    )


def _found(root: Path) -> str:
    if not root.is_dir():
        return "no such folder"
    return ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "an empty folder"


def _read_split(root: Path, split: str) -> list[str]:
    """Names of the images of a split."""
    folder = root / _SPLIT_FOLDER
    path = folder / f"{split}.txt"
    if not path.is_file() and split.endswith(".txt") and Path(split).is_file():
        path = Path(split)
    if path.is_file():
        return list(dict.fromkeys(_SECOND_COLUMN.sub("", line.strip()) for line in _lines(path)))
    if not folder.is_dir() and split in _EVERYTHING:
        annotations = _find_folder(root, _ANNOTATION_FOLDERS)
        return sorted(path.stem for path in annotations.glob("*.xml"))
    there = sorted(each.stem for each in folder.glob("*.txt")) if folder.is_dir() else []
    raise DatasetError(
        f"'{root}': there is no list '{path}' of the images of the split {split!r}"
        + (f"; there are {', '.join(there)}" if there else "")
        + ". Write one (a line with the name of each image, without its ending), or, without any lists, "
        "give the split 'all'."
    )


def _lines(path: Path) -> list[str]:
    # Windows' editors begin a file with a mark of its encoding.
    text = path.read_text(encoding="utf-8-sig")
    return [line for line in text.splitlines() if line.strip()]
