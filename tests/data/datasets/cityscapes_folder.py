"""A small folder in Cityscapes' layout, drawn and written by the test itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

IDS = {"person": 24, "car": 26, "bicycle": 33}


class Thing(NamedTuple):
    """A rectangle of an instance; x2 and y2 are its last column and row."""

    label: str
    number: int
    x1: int
    y1: int
    x2: int
    y2: int


# City and name -> objects, back to front.
SCENES: dict[tuple[str, str], list[Thing]] = {
    ("aachen", "aachen_000"): [Thing("car", 0, 4, 6, 33, 25), Thing("person", 0, 20, 10, 27, 39)],
    ("aachen", "aachen_001"): [],
    ("bonn", "bonn_000"): [Thing("bicycle", 1, 40, 2, 59, 21)],
}
WIDTH, HEIGHT = 64, 48


def write_cityscapes(
    root: Path,
    *,
    scenes: dict[tuple[str, str], list[Thing]] | None = None,
    split: str = "train",
    images: bool = True,
) -> Path:
    """Write leftImg8bit/ and gtFine/ (instance numbers and polygons)."""
    pixels = np.random.RandomState(0)
    for (city, name), things in (SCENES if scenes is None else scenes).items():
        folder = root / "gtFine" / split / city
        folder.mkdir(parents=True, exist_ok=True)
        # Road (7), a group of cars (26), then the objects.
        numbers = np.full((HEIGHT, WIDTH), 7, dtype=np.uint16)
        numbers[44:, :5] = 26
        objects = [{"label": "road", "polygon": [[0, 0], [63, 0], [63, 47], [0, 47]]}]
        objects.append({"label": "cargroup", "polygon": [[0, 44], [4, 44], [4, 47], [0, 47]]})
        for label, number, x1, y1, x2, y2 in things:
            numbers[y1 : y2 + 1, x1 : x2 + 1] = IDS[label] * 1000 + number
            polygon = [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]
            objects.append({"label": label, "polygon": polygon})
        content = {"imgWidth": WIDTH, "imgHeight": HEIGHT, "objects": objects}
        Image.fromarray(numbers).save(folder / f"{name}_gtFine_instanceIds.png")
        (folder / f"{name}_gtFine_polygons.json").write_text(json.dumps(content))
        if images:
            photos = root / "leftImg8bit" / split / city
            photos.mkdir(parents=True, exist_ok=True)
            values = pixels.randint(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            Image.fromarray(values).save(photos / f"{name}_leftImg8bit.png")
    return root
