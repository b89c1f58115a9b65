"""Data named on the command line: from files or a folder to the config values that describe it.

`find_data` looks at file names and into the annotation files; it imports no torch and changes
nothing. Accepted layouts (any mixture, searched two folders deep):

    my_coco/annotations/instances_{train,val}2017.json   images in my_coco/{train,val}2017/
    my_coco/{train,val}.json                             images in my_coco/images/
    my_coco/{train,valid}/_annotations.coco.json         images beside the json
    my_coco/trainval.json                                one file: training only

Where keypoints are wanted, annotations/person_keypoints_{train,val}2017.json goes before instances_*.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from maskrcnn_benchmark.errors import DatasetError

# A test set serves for validation when there is nothing better.
_SPLIT_WORDS = {
    "train": ("train", "training", "trainval"),
    "val": ("val", "valid", "validation", "minival", "dev"),
    "test": ("test", "testing"),
}
# COCO's annotation files of objects, and of objects with keypoints.
_OBJECTS, _KEYPOINTS = "instances", "person_keypoints"
# COCO's annotation files that are not object boxes; used only if nothing else is there.
_OTHER_TASKS = ("captions", "person_keypoints", "stuff", "panoptic", "image_info", "labels")
_DEPTH = 2
_SAMPLED_IMAGES = 20


@dataclass(frozen=True, kw_only=True)
class DirectDataset:
    """One annotation file and the folder of its images."""

    name: str
    annotations: Path
    images: Path
    class_names: tuple[str, ...]
    """One per category, in the order of the file, which is that of the labels; without background."""
    num_images: int
    num_keypoints: int = 0
    """Of each object; 0 where the categories name none."""


@dataclass(frozen=True, kw_only=True)
class DirectData:
    """What to train on and, if there is such a set, what to test on."""

    train: DirectDataset
    val: DirectDataset | None

    @property
    def num_classes(self) -> int:
        """Number of classes, background included: what NUM_CLASSES must be."""
        return len(self.train.class_names) + 1

    def overrides(self) -> list[str]:
        """Return `KEY VALUE` pairs that make the config use this data."""
        sets = [self.train] if self.val is None else [self.train, self.val]
        custom = {
            each.name: {"ann_file": str(each.annotations), "img_dir": str(each.images)}
            for each in sets
        }
        test = () if self.val is None else (self.val.name,)
        return [
            "DATASETS.CUSTOM",
            repr(custom),
            "DATASETS.TRAIN",
            repr((self.train.name,)),
            "DATASETS.TEST",
            repr(test),
        ]


def find_data(folder: str | Path, *, keypoints: bool = False) -> DirectData:
    """Find the annotation files and image folders of a data set.

    Args:
        folder: that holds them.
        keypoints: whether objects with keypoints are wanted.

    Raises:
        DatasetError: if nothing fits, or more than one thing does; the message lists them.
    """
    root = Path(folder).expanduser().resolve()
    if not root.is_dir():
        raise DatasetError(f"Expected a folder with COCO annotations and images, got '{folder}'.")
    by_split = _annotation_files(root)
    task = _KEYPOINTS if keypoints else _OBJECTS
    train = _choose(by_split["train"] or by_split["other"], "train", root, task)
    if train is None:
        raise DatasetError(_no_annotations(root, by_split))
    val = _choose(by_split["val"], "val", root, task)
    val = val or _choose(by_split["test"], "test", root, task)
    described = _describe(train, folders=_image_folders(root, train), split="train", name=root.name)
    if val is None:
        return _pair(described, None)
    return _pair(
        described,
        _describe(val, folders=_image_folders(root, val), split="val", name=root.name),
    )


def data_from_files(
    *,
    train_json: str | Path,
    train_images: str | Path,
    val_json: str | Path | None = None,
    val_images: str | Path | None = None,
) -> DirectData:
    """Describe data whose files are all given.

    `val_images` may be left out where it is the folder of the training images.

    Raises:
        DatasetError: if a file is missing or no COCO annotations, or no image is in the folder.
    """
    if val_json is None and val_images is not None:
        raise DatasetError(
            f"Validation images '{val_images}' were given without a validation json."
        )
    name = Path(train_json).stem
    train = _describe(Path(train_json), folders=[Path(train_images)], split="train", name=name)
    if val_json is None:
        return _pair(train, None)
    folder = Path(train_images if val_images is None else val_images)
    return _pair(train, _describe(Path(val_json), folders=[folder], split="val", name=name))


def _pair(train: DirectDataset, val: DirectDataset | None) -> DirectData:
    if val is not None and val.class_names != train.class_names:
        raise DatasetError(
            f"The categories of {val.annotations} differ from those of {train.annotations}: "
            f"{_listed(val.class_names)} against {_listed(train.class_names)}. "
            "Both files must declare the same categories, with the same ids, in the same order."
        )
    return DirectData(train=train, val=val)


def _folders(root: Path, depth: int) -> Iterator[Path]:
    yield root
    if depth:
        with os.scandir(root) as entries:
            # An entry knows its kind without a further call: image folders hold 100 000 files.
            names = sorted(each.name for each in entries if each.is_dir())
        for name in names:
            if not name.startswith("."):
                yield from _folders(root / name, depth - 1)


def _annotation_files(root: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {"train": [], "val": [], "test": [], "other": []}
    seen: set[Path] = set()
    for folder in _folders(root, _DEPTH):
        for path in sorted(folder.glob("*.json")):
            # A link to a folder (latest -> v2) shows the same file again.
            if path.resolve() not in seen:
                seen.add(path.resolve())
                found[_split_of(path, root)].append(path)
    return found


def _split_of(path: Path, root: Path) -> str:
    """Tell the split from the file's name, else from that of the nearest folder."""
    for part in reversed(path.relative_to(root).with_suffix("").parts):
        words = set(re.findall(r"[a-z]+", part.lower()))
        for split, names in _SPLIT_WORDS.items():
            if words & set(names):
                return split
    return "other"


def _choose(paths: list[Path], split: str, root: Path, task: str) -> Path | None:
    """Pick the one file with object annotations, or none; several are an error.

    Args:
        paths: that could be the split's.
        split: for the message.
        root: folder that holds them.
        task: with this name a file goes before others.
    """
    objects = [path for path in paths if not path.name.startswith(_OTHER_TASKS)]
    instances = [path for path in paths if path.name.startswith(task)] or objects
    if len(instances) != 1:
        instances = [path for path in instances or paths if _is_object_annotations(path)]
    if len(instances) > 1:
        listed = ", ".join(str(path.relative_to(root)) for path in instances)
        raise DatasetError(
            f"More than one annotation file in {root} could be the {split} set: {listed}. "
            "Name the files: --train-json A --train-images B --val-json C --val-images D."
        )
    return instances[0] if instances else None


def _is_object_annotations(path: Path) -> bool:
    try:
        _load(path)
    except DatasetError:
        return False
    return True


def _load(path: Path) -> tuple[list[str], tuple[str, ...], int]:
    """Return the image file names, the class names and the number of keypoints of a COCO file."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"Annotation file '{path}' cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise DatasetError(f"Annotation file '{path}' is not valid JSON: {error}.") from error
    missing = [
        key
        for key in ("images", "annotations", "categories")
        if not isinstance(content, dict) or not isinstance(content.get(key), list)
    ]
    if missing:
        raise DatasetError(
            f"Annotation file '{path}' is not COCO object annotations: expected an object with the "
            f"lists images, annotations and categories; missing: {', '.join(missing)}."
        )
    try:
        names = [str(image["file_name"]) for image in content["images"]]
        # In the order of the file, which is the order of the labels.
        categories = [(int(each["id"]), str(each["name"])) for each in content["categories"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"Annotation file '{path}': every image needs a file_name, every category an id and a "
            f"name ({error!r})."
        ) from error
    if not names or not categories:
        what = "images" if not names else "categories"
        raise DatasetError(f"Annotation file '{path}' declares no {what}.")
    counts = [len(each.get("keypoints") or ()) for each in content["categories"]]
    return names, tuple(name for _, name in categories), max(counts)


def _image_folders(root: Path, annotations: Path) -> list[Path]:
    """List the folders that may hold the images of a file, the likeliest first."""
    split = _split_of(annotations, root)
    others = {"train", "val", "test"} - {split}

    def rank(folder: Path) -> int:
        if folder == annotations.parent:
            return 1
        named = "other" if folder == root else _split_of(folder, root)
        if named == split and split != "other":
            return 0
        return 3 if named in others else 2

    return sorted(_folders(root, _DEPTH), key=rank)


def _describe(annotations: Path, *, folders: list[Path], split: str, name: str) -> DirectDataset:
    file_names, class_names, num_keypoints = _load(annotations)
    images = _best_folder(folders, _sample(file_names))
    if images is None:
        looked = folders[0] if len(folders) == 1 else f"any of {len(folders)} folders beside it"
        if "\\" in file_names[0] and os.sep != "\\":
            raise DatasetError(
                f"None of the images that '{annotations}' names (such as '{file_names[0]}') is in "
                f"{looked}. The file was written on Windows: write / in file_name, not \\."
            )
        raise DatasetError(
            f"None of the images that '{annotations}' names (such as '{file_names[0]}') is in "
            f"{looked}. Give the folder that file_name is relative to: --train-images B, "
            "--val-images D."
        )
    return DirectDataset(
        name=f"{re.sub(r'[^A-Za-z0-9_-]+', '_', name)}_{split}",
        annotations=annotations.expanduser().resolve(),
        images=images.expanduser().resolve(),
        class_names=class_names,
        num_images=len(file_names),
        num_keypoints=num_keypoints,
    )


def _sample(names: list[str]) -> list[str]:
    step = max(1, len(names) // _SAMPLED_IMAGES)
    return names[::step]


def _best_folder(folders: Iterable[Path], names: list[str]) -> Path | None:
    """Return the first folder with most of the images; None if no folder has any."""
    best, most = None, 0
    for folder in folders:
        found = sum((folder / name).is_file() for name in names)
        if found > most:
            best, most = folder, found
    return best


def _no_annotations(root: Path, by_split: dict[str, list[Path]]) -> str:
    seen = [str(path.relative_to(root)) for paths in by_split.values() for path in paths]
    found = f"found only {_listed(seen)}" if seen else "found no .json file"
    return (
        f"No training annotations in {root}: expected a COCO json with 'train' in its name or its "
        f"folder's (annotations/instances_train2017.json, train/_annotations.coco.json), {found}. "
        "Name the files: --train-json A --train-images B."
    )


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
