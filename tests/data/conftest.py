"""A small COCO folder, drawn and written by the test itself."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@dataclass
class CocoFolder:
    """An annotation file and its images; change `content` and `write` it again."""

    root: Path
    content: dict[str, Any]

    @property
    def ann_file(self) -> Path:
        return self.root / "annotations.json"

    def write(self) -> Path:
        self.ann_file.write_text(json.dumps(self.content))
        return self.ann_file

    def annotation(self, annotation_id: int) -> dict[str, Any]:
        return next(a for a in self.content["annotations"] if a["id"] == annotation_id)

    def add(self, image_id: int, bbox: list[float], **more: Any) -> dict[str, Any]:
        annotation = {
            "id": max((a["id"] for a in self.content["annotations"]), default=0) + 1,
            "image_id": image_id,
            "category_id": 3,
            "bbox": bbox,
            "area": bbox[2] * bbox[3],
            "iscrowd": 0,
            **more,
        }
        self.content["annotations"].append(annotation)
        return annotation


def _square(x: float, y: float, side: float) -> list[float]:
    return [x, y, x + side, y, x + side, y + side, x, y + side]


CONTENT: dict[str, Any] = {
    "images": [
        {"id": 20, "file_name": "wide.png", "width": 64, "height": 48},
        {"id": 10, "file_name": "tall.png", "width": 40, "height": 60},
        {"id": 30, "file_name": "empty.png", "width": 50, "height": 50},
    ],
    "categories": [{"id": 7, "name": "nut"}, {"id": 3, "name": "fig"}],
    "annotations": [
        {
            "id": 1,
            "image_id": 20,
            "category_id": 3,
            "bbox": [4, 6, 20, 20],
            "area": 400,
            "iscrowd": 0,
            "segmentation": [_square(4, 6, 8), _square(16, 18, 8)],
        },
        {
            "id": 2,
            "image_id": 20,
            "category_id": 7,
            "bbox": [30, 10, 10, 10],
            "area": 100,
            "iscrowd": 0,
            "segmentation": [_square(30, 10, 10)],
        },
        {
            "id": 3,
            "image_id": 20,
            "category_id": 7,
            "bbox": [0, 0, 64, 2],
            "area": 128,
            "iscrowd": 1,
            "segmentation": {"size": [48, 64], "counts": [0, 128, 48 * 64 - 128]},
        },
        {
            "id": 4,
            "image_id": 10,
            "category_id": 7,
            "bbox": [5, 5, 30, 40],
            "area": 1200,
            "iscrowd": 0,
            "segmentation": [[5, 5, 35, 5, 35, 45, 5, 45]],
        },
    ],
}


@pytest.fixture
def coco_folder(tmp_path: Path) -> CocoFolder:
    folder = CocoFolder(tmp_path, copy.deepcopy(CONTENT))
    pixels = np.random.RandomState(0)
    for image in folder.content["images"]:
        values = pixels.randint(0, 256, (image["height"], image["width"], 3), dtype=np.uint8)
        Image.fromarray(values).save(tmp_path / image["file_name"])
    folder.write()
    return folder


class DrawnDataset:
    """Images of one colour, made on demand; no files."""

    def __init__(self, sizes: list[tuple[int, int]], transforms: Any = None) -> None:
        self.sizes = sizes
        self.transforms = transforms

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Any:
        import torch

        from maskrcnn_benchmark.structures.bounding_box import BoxList

        width, height = self.sizes[index]
        image = Image.new("RGB", (width, height), (index % 256, 100, 200))
        target = BoxList([[0, 0, width / 2, height / 3]], (width, height))
        target.add_field("labels", torch.tensor([1]))
        if self.transforms is not None:
            image, target = self.transforms(image, target)
        return image, target, index

    def get_img_info(self, index: int) -> dict[str, int]:
        return {"width": self.sizes[index][0], "height": self.sizes[index][1]}


@pytest.fixture
def drawn_dataset() -> type[DrawnDataset]:
    return DrawnDataset
