"""A COCO annotation file, read and checked.

Nothing here imports torch or opens an image.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from maskrcnn_benchmark.data.datasets.coco_checks import (
    AnnotationChecker,
    category_problem,
    complete_annotation,
    image_problem,
)
from maskrcnn_benchmark.data.datasets.problems import OnError, Problem, ProblemList
from maskrcnn_benchmark.errors import DatasetError

Check = Literal["full", "fast"]
Entry = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class CocoAnnotations:
    """What is usable in an annotation file.

    Attributes:
        path: the file.
        content: the file as it was parsed, without what was left out.
        categories: json id -> name, in the order of the file.
        images: json id -> entry of the file.
        by_image: json id of the image -> its annotations.
        counts: (what was done, kind of mistake) -> how often.
    """

    path: str
    content: Entry
    categories: dict[int, str]
    images: dict[int, Entry]
    by_image: dict[int, list[Entry]]
    counts: dict[tuple[str, str], int]


def load_coco_json(
    ann_file: str | os.PathLike[str],
    *,
    image_folder: str | os.PathLike[str] | None = None,
    on_error: OnError = "stop",
    check: Check = "full",
    require_masks: bool = False,
) -> CocoAnnotations:
    """Read and check a COCO annotation file.

    Args:
        ann_file: the json file.
        image_folder: where the images are; None does not look for them.
        on_error: raise for anything wrong with images or annotations, or leave those out.
        check: "full" also looks at every polygon and for every image file.
        require_masks: an annotation (no crowd) without a segmentation is something wrong.

    Raises:
        DatasetError: if the file is not COCO object annotations, or something in it is wrong; it
            names the file and the annotation or image.
    """
    path = os.fspath(ann_file)
    content = _parse(path)
    problems = ProblemList(path, on_error)
    categories = _usable_categories(content["categories"], problems)
    images = _usable_images(content["images"], problems)
    if check == "full" and image_folder is not None:
        _leave_out_missing(images, os.fspath(image_folder), problems)
    checker = AnnotationChecker(
        images=images,
        declared_images=_declared_ids(content["images"]),
        categories=categories,
        full=check == "full",
        require_masks=require_masks,
    )
    annotations = _usable_annotations(content.get("annotations", []), checker, problems)
    problems.conclude()
    _require_entries(path, categories=categories, images=images)
    by_image: dict[int, list[Entry]] = {image_id: [] for image_id in images}
    for annotation in annotations:
        by_image[annotation["image_id"]].append(annotation)
    return CocoAnnotations(
        path=path,
        content={
            **content,
            "categories": list(categories.values()),
            "images": list(images.values()),
            "annotations": annotations,
        },
        categories={category_id: entry["name"] for category_id, entry in categories.items()},
        images=images,
        by_image=by_image,
        counts=dict(problems.counts),
    )


def _parse(path: str) -> Entry:
    """The file's top level, with its three lists."""
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read())
    except OSError as error:
        raise DatasetError(
            f"annotation file '{path}' cannot be read: {error.strerror}. Check the path"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(
            f"annotation file '{path}' is not valid JSON: {error}. Was it cut off while it was "
            "written or downloaded?"
        ) from error
    if not isinstance(content, dict):
        raise DatasetError(_not_coco(path, f"a {type(content).__name__} at the top level"))
    for key in ("images", "categories", "annotations"):
        # Files for test servers (image_info_*.json) come without annotations.
        if not isinstance(content.get(key, [] if key == "annotations" else None), list):
            found = ", ".join(sorted(map(str, content))[:10]) or "nothing"
            raise DatasetError(_not_coco(path, f"no list '{key}' among {found}"))
    return content


def _not_coco(path: str, got: str) -> str:
    return (
        f"annotation file '{path}' is not COCO object annotations: expected an object with the "
        f"lists images, annotations and categories, got {got}. Detection results and other "
        "formats must be converted first"
    )


def _usable_categories(entries: list[Any], problems: ProblemList) -> dict[int, Entry]:
    usable: dict[int, Entry] = {}
    for position, entry in enumerate(entries):
        problem = category_problem(entry, position=position, seen=usable)
        if problem:
            problems.add(problem)
        else:
            usable[entry["id"]] = entry
    return usable


def _usable_images(entries: list[Any], problems: ProblemList) -> dict[int, Entry]:
    usable: dict[int, Entry] = {}
    for position, entry in enumerate(entries):
        problem = image_problem(entry, position=position, seen=usable)
        if problem:
            problems.add(problem)
        else:
            usable[entry["id"]] = entry
    return usable


def _declared_ids(entries: list[Any]) -> set[int]:
    """Ids of all images, usable or not: each mistake is reported once."""
    ids = (entry.get("id") for entry in entries if isinstance(entry, dict))
    return {image_id for image_id in ids if isinstance(image_id, int)}


def _require_entries(path: str, **lists: Collection[int]) -> None:
    for what, usable in lists.items():
        if not usable:
            raise DatasetError(
                f"{path}: expected at least one entry in '{what}', got none that can be used; "
                "there is nothing to train or to test on"
            )


def _leave_out_missing(images: dict[int, Entry], image_folder: str, problems: ProblemList) -> None:
    """Take images out of the list whose files are not there."""
    present: dict[str, frozenset[str]] = {}
    missing = []
    for image_id, entry in images.items():
        folder, name = os.path.split(os.path.join(image_folder, entry["file_name"]))
        if folder not in present:
            # One listing instead of a question per file: COCO has 118 000 of them.
            present[folder] = frozenset(os.listdir(folder) if os.path.isdir(folder) else ())
        if name not in present[folder]:
            missing.append((image_id, os.path.join(folder, name)))
    if missing and len(missing) == len(images):
        problems.add(
            Problem(
                "missing image folder",
                f"none of its {len(images)} image files is there; the first should be "
                f"'{missing[0][1]}': is '{image_folder}' the folder that file_name is relative to?"
                f"{_backslash_hint(missing[0][1])}",
            )
        )
        images.clear()
    for image_id, path in missing:
        if image_id in images:
            problems.add(
                Problem(
                    "missing image file",
                    f"image {image_id}: there is no file '{path}'{_backslash_hint(path)}",
                )
            )
            del images[image_id]


def _backslash_hint(path: str) -> str:
    """What to do about a name written on Windows; elsewhere a backslash is part of the name."""
    return " (write / in file_name, not \\)" if "\\" in path and os.sep != "\\" else ""


def _usable_annotations(
    entries: list[Any], checker: AnnotationChecker, problems: ProblemList
) -> list[Entry]:
    usable = []
    for position, entry in enumerate(entries):
        problem = checker.problem(entry, position=position)
        if problem:
            problems.add(problem)
        if (problem is None or problem.remedy == "clipped") and checker.has_image(entry):
            complete_annotation(entry)
            usable.append(entry)
    return usable
