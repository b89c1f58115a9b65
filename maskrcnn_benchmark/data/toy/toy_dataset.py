"""The toy set on disk, laid out as COCO is.

    ROOT/annotations/instances_train.json    ROOT/train/000001.jpg ...
    ROOT/annotations/instances_val.json      ROOT/val/000001.jpg ...

Every picture is a function of (seed, split, number) alone, so a longer set begins with the shorter.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskrcnn_benchmark.data.toy.annotations import CATEGORIES, annotate
from maskrcnn_benchmark.data.toy.scene import draw_scene
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.utils.atomic import atomic_write
from maskrcnn_benchmark.utils.progress import progress_bar

# Raise it when the same seed gives other pictures: sets drawn by an older version are drawn again.
_DRAWING_VERSION = 2
_JPEG_QUALITY = 95
_SPLITS = ("train", "val")


@dataclass(frozen=True, kw_only=True)
class ToySplit:
    """Where one half of the set lies."""

    json_path: Path
    image_folder: Path
    num_images: int


@dataclass(frozen=True, kw_only=True)
class ToyDataset:
    """Where the set lies."""

    root: Path
    train: ToySplit
    val: ToySplit


def write_toy_dataset(
    root: str | os.PathLike[str], *, seed: int = 0, num_train: int = 600, num_val: int = 100
) -> ToyDataset:
    """Draw the toy set below `root`, or keep the one that is there if it is the same.

    Args:
        root: the folder of the set, made where it is missing.
        seed: two sets of different seeds share no picture.
        num_train: pictures to learn from.
        num_val: pictures to be tested on.
    """
    root = Path(root)
    splits = [
        ToySplit(
            json_path=root / "annotations" / f"instances_{name}.json",
            image_folder=root / name,
            num_images=count,
        )
        for name, count in zip(_SPLITS, (num_train, num_val), strict=True)
    ]
    missing = [
        (number, split)
        for number, split in enumerate(splits)
        if not _is_drawn(split, seed=seed, number=number)
    ]
    total = sum(split.num_images for _, split in missing)
    with progress_bar("Drawing the toy set", total=total) as bar:
        for number, split in missing:
            _write_split(split, seed=seed, number=number, advance=bar.advance)
    return ToyDataset(root=root, train=splits[0], val=splits[1])


def _info(*, seed: int, number: int) -> dict[str, Any]:
    return {
        "description": f"maskrcnn-benchmark toy set, {_SPLITS[number]}",
        "version": str(_DRAWING_VERSION),
        "seed": seed,
    }


def _is_drawn(split: ToySplit, *, seed: int, number: int) -> bool:
    """Whether exactly this half is on the disk; its json is written last, so it vouches for all."""
    if not split.json_path.exists():
        return False
    try:
        with open(split.json_path, encoding="utf-8") as file:
            content = json.load(file)
        info, images = content["info"], content["images"]
        description = info["description"]
    except (ValueError, KeyError, TypeError):
        description = ""
    expected = _info(seed=seed, number=number)
    if description != expected["description"]:
        raise DatasetError(
            f"{split.json_path} exists and is not a toy set of ours, so nothing was drawn over it. "
            "Choose another folder, or remove the file."
        )
    return (
        info == expected
        and len(images) == split.num_images
        and all((split.image_folder / image["file_name"]).exists() for image in images)
    )


def _write_split(split: ToySplit, *, seed: int, number: int, advance: Callable[[], None]) -> None:
    split.json_path.parent.mkdir(parents=True, exist_ok=True)
    split.image_folder.mkdir(parents=True, exist_ok=True)
    # From here on the old pictures, if any, are being replaced.
    split.json_path.unlink(missing_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id in range(1, split.num_images + 1):
        scene = draw_scene(np.random.default_rng([seed, number, image_id]))
        name = f"{image_id:06d}.jpg"
        Image.fromarray(scene.image).save(
            split.image_folder / name, quality=_JPEG_QUALITY, subsampling=0
        )
        height, width = scene.image.shape[:2]
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for found in scene.objects:
            annotations.append(
                annotate(found, image_id=image_id, annotation_id=len(annotations) + 1)
            )
        advance()
    content = {
        "info": _info(seed=seed, number=number),
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": CATEGORIES,
    }
    with atomic_write(split.json_path, "w") as file:
        json.dump(content, file)
