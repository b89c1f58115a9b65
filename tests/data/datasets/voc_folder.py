"""A small folder in Pascal VOC's layout, drawn and written by the test itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

# name, xmin, ymin, xmax, ymax (counted from 1), difficult
Object = tuple[str, float, float, float, float, int]

OBJECTS: dict[str, list[Object]] = {
    "000001": [("cat", 1, 1, 20, 30, 0), ("Person", 11, 6, 60, 48, 1)],
    "000002": [("dog", 3, 4, 12, 40, 0)],
    "000003": [],
}
SIZES = {"000001": (64, 48), "000002": (40, 60), "000003": (50, 50)}


def write_voc(
    root: Path,
    *,
    objects: dict[str, list[Object]] | None = None,
    split: str | None = "train",
    extension: str = ".jpg",
) -> Path:
    """Write Annotations, JPEGImages and, with a split, ImageSets/Main."""
    objects = OBJECTS if objects is None else objects
    for folder in ("Annotations", "JPEGImages"):
        (root / folder).mkdir(parents=True)
    pixels = np.random.RandomState(0)
    for name, entries in objects.items():
        width, height = SIZES.get(name, (64, 48))
        write_xml(root / "Annotations" / f"{name}.xml", entries, size=(width, height))
        values = pixels.randint(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(values).save(root / "JPEGImages" / f"{name}{extension}")
    if split is not None:
        lists = root / "ImageSets" / "Main"
        lists.mkdir(parents=True)
        (lists / f"{split}.txt").write_text("\n".join(objects) + "\n")
    return root


def write_xml(path: Path, entries: Sequence[Object], *, size: tuple[int, int]) -> None:
    parts = [
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{a}</xmin>"
        f"<ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for name, a, b, c, d, difficult in entries
    ]
    path.write_text(
        f"<annotation><filename>{path.stem}.jpg</filename><size><width>{size[0]}</width>"
        f"<height>{size[1]}</height><depth>3</depth></size>{''.join(parts)}</annotation>"
    )
