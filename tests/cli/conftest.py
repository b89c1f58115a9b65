"""For the tests of the command line: a tiny data set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO folder with two pictures to train on and one to test on, each with one square."""
    root = tmp_path_factory.mktemp("data") / "squares"
    for split, count in (("train", 2), ("val", 1)):
        folder = root / split
        folder.mkdir(parents=True)
        images, annotations = [], []
        for index in range(count):
            name = f"{split}{index}.png"
            picture = Image.new("RGB", (64, 48), (90, 120, 90))
            picture.paste((220, 40, 40), (8, 8, 40, 40))
            picture.save(folder / name)
            images.append({"id": index, "file_name": name, "width": 64, "height": 48})
            annotations.append(
                {
                    "id": index,
                    "image_id": index,
                    "category_id": 7,
                    "bbox": [8, 8, 32, 32],
                    "area": 1024,
                    "iscrowd": 0,
                    "segmentation": [[8, 8, 40, 8, 40, 40, 8, 40]],
                }
            )
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 7, "name": "square"}, {"id": 9, "name": "disc"}],
        }
        (root / f"{split}.json").write_text(json.dumps(content))
    return root
