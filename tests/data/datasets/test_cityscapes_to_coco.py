"""Cityscapes to COCO: the entries, and that the outlines are the pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark.data.datasets import CityScapesDataset, COCODataset
from maskrcnn_benchmark.data.datasets.cityscapes_files import read_instance_image
from maskrcnn_benchmark.data.datasets.cityscapes_to_coco import CityscapesConverter
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.results.masks import decode_mask, encode_polygons
from maskrcnn_benchmark.results.writers import write_json
from tests.data.datasets.cityscapes_folder import Thing, write_cityscapes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = write_cityscapes(tmp_path / "cs")
    return write_cityscapes(
        root, scenes={("ulm", "ulm_0"): [Thing("person", 3, 1, 2, 9, 8)]}, split="val"
    )


def test_entries_and_running_numbers(folder: Path) -> None:
    said: list[str] = []
    converter = CityscapesConverter(report=said.append)
    val = converter.convert(folder / "gtFine" / "val")
    train = converter.convert(folder / "gtFine" / "train")
    assert val["images"] == [
        {
            "id": 0,
            "width": 64,
            "height": 48,
            "file_name": "ulm_0_leftImg8bit.png",
            "seg_file_name": "ulm_0_gtFine_instanceIds.png",
        }
    ]
    assert val["annotations"] == [
        {
            "id": 0,
            "image_id": 0,
            "category_id": 1,
            "segmentation": [[1, 2, 10, 2, 10, 9, 1, 9]],
            "bbox": [1, 2, 9, 7],
            "area": 63,
            "iscrowd": 0,
        }
    ]
    assert [image["id"] for image in train["images"]] == [1, 2, 3]
    assert [entry["id"] for entry in train["annotations"]] == [1, 2, 3]
    assert [entry["category_id"] for entry in train["annotations"]] == [1, 2, 3]
    names = [entry["name"] for entry in converter.categories]
    assert names == ["person", "car", "bicycle"]
    assert said[:4] == [
        "Processed 0 images, 0 annotations",
        "Num categories: 1",
        "Num images: 1",
        "Num annotations: 1",
    ]


def test_outlines_drawn_again_are_the_pixels(folder: Path) -> None:
    path = folder / "gtFine" / "train" / "aachen" / "aachen_000_gtFine_instanceIds.png"
    found = read_instance_image(path)
    content = CityscapesConverter(report=lambda text: None).convert(folder / "gtFine" / "train")
    for entry, number in zip(content["annotations"][:2], found.numbers, strict=True):
        rle = encode_polygons(entry["segmentation"], height=48, width=64)
        assert np.array_equal(decode_mask(rle), found.pixels == number)
        assert entry["area"] == (found.pixels == number).sum()


def test_classes_can_be_chosen(folder: Path) -> None:
    converter = CityscapesConverter(classes=("car",), report=lambda text: None)
    content = converter.convert(folder / "gtFine" / "train")
    assert [entry["bbox"] for entry in content["annotations"]] == [[4, 6, 30, 20]]


def test_both_ways_to_the_data_agree(folder: Path, tmp_path: Path) -> None:
    content = CityscapesConverter(report=lambda text: None).convert(folder / "gtFine" / "train")
    write_json(tmp_path / "train.json", content)
    images = tmp_path / "flat"
    images.mkdir()
    for path in (folder / "leftImg8bit" / "train").glob("*/*.png"):
        path.rename(images / path.name)
    coco = COCODataset(tmp_path / "train.json", images, False)
    write_cityscapes(folder)
    own = CityScapesDataset(folder / "leftImg8bit", folder / "gtFine", "train")
    for index in (0, 2):
        theirs, mine = coco[index][1], own[index][1]
        assert theirs.bbox.tolist() == mine.bbox.tolist()
        masks = theirs.get_field("masks").convert("mask").as_masks()
        assert (masks == mine.get_field("masks").as_masks()).all()


def test_what_is_refused(folder: Path) -> None:
    converter = CityscapesConverter(report=lambda text: None)
    with pytest.raises(DatasetError, match=r"expected files CITY/NAME_gtFine_polygons\.json"):
        converter.convert(folder / "gtFine" / "test")
    path = folder / "gtFine" / "val" / "ulm" / "ulm_0_gtFine_instanceIds.png"
    Image.new("I;16", (48, 64)).save(path)
    with pytest.raises(DatasetError, match="has 48 x 64 pixels, but its polygon file says 64 x 48"):
        converter.convert(folder / "gtFine" / "val")
