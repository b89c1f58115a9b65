"""CityScapesDataset: both modes, empty images, selection, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.data.datasets import CityScapesDataset
from maskrcnn_benchmark.data.loader import aspect_groups
from maskrcnn_benchmark.errors import DatasetError
from tests.data.datasets.cityscapes_folder import SCENES, Thing, write_cityscapes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_cityscapes(tmp_path / "cityscapes")


def make(folder: Path, split: str = "train", **settings: Any) -> CityScapesDataset:
    return CityScapesDataset(folder / "leftImg8bit", folder / "gtFine", split, **settings)


def test_pixels(folder: Path) -> None:
    dataset = make(folder)
    assert len(dataset) == 3
    image, target, index = dataset[0]
    assert (image.size, image.mode, index) == ((64, 48), "RGB", 0)
    names = [dataset.id_to_name[label] for label in target.get_field("labels").tolist()]
    assert names == ["person", "car"]
    assert target.bbox.tolist() == [[20, 10, 27, 39], [4, 6, 33, 25]]
    masks = target.get_field("masks")
    assert masks.mode == "mask"
    person, car = masks.as_masks()
    assert person.sum() == 8 * 30
    assert car.sum() == 30 * 20 - 8 * 16, "without what the person covers"


def test_polygons_keep_what_is_covered(folder: Path) -> None:
    _, target, _ = make(folder, mode="poly")[0]
    assert target.get_field("labels").tolist() == [3, 1]
    assert target.bbox.tolist() == [[4, 6, 33, 25], [20, 10, 27, 39]]
    masks = target.get_field("masks")
    assert masks.mode == "poly"
    assert len(masks) == 2


def test_classes(folder: Path) -> None:
    dataset = make(folder)
    assert len(dataset.CLASSES) == 11
    assert dataset.class_names[0] == "__background__"
    assert dataset.name_to_id["bicycle"] == 10
    assert dataset.categories[6] == "caravan"


@pytest.mark.parametrize("mode", ["mask", "poly"])
def test_an_empty_image(folder: Path, mode: str) -> None:
    image, target, index = make(folder, mode=mode)[1]
    following = make(folder, mode=mode)[2]
    assert index == 1
    assert target.bbox.tolist() == following[1].bbox.tolist()
    assert image.tobytes() == following[0].tobytes()
    image, target, index = make(folder, mode=mode, replace_empty=False)[1]
    assert (len(target), index) == (0, 1)
    assert image.tobytes() != following[0].tobytes()


def test_nothing_but_empty_images(tmp_path: Path) -> None:
    scenes: dict[tuple[str, str], list[Thing]] = {("ulm", "a"): [], ("ulm", "b"): []}
    dataset = make(write_cityscapes(tmp_path / "cs", scenes=scenes))
    assert len(dataset[0][1]) == 0


def test_small_objects_and_fewer_images(folder: Path) -> None:
    dataset = make(folder, min_area=7 * 29)
    assert len(dataset.get_groundtruth(0)) == 2
    dataset = make(folder, min_area=7 * 29 + 1)
    target = dataset.get_groundtruth(0)
    assert target.get_field("labels").tolist() == [3]
    assert len(target.get_field("masks")) == 1
    assert len(make(folder, mini=1)) == 1
    assert len(make(folder, mini=2)) == 2
    assert len(make(folder, mini=10)) == 3


def test_sizes_are_those_of_the_files(folder: Path) -> None:
    dataset = make(folder)
    assert dataset.get_img_info(2) == {
        "height": 48,
        "width": 64,
        "file_name": "bonn_000_leftImg8bit.png",
        "id": "bonn_000",
    }
    assert aspect_groups(dataset) == [0, 0, 0]
    assert list(dataset.id_to_img_map.values()) == [name for _, name in SCENES]


def test_masks_keep_their_area_when_resized(folder: Path) -> None:
    def enlarge(image: Any, target: Any) -> Any:
        return image, target.resize((128, 96))

    _, target, _ = make(folder, transforms=enlarge)[0]
    areas = target.get_field("masks").as_masks().flatten(1).sum(dim=1, dtype=torch.int64)
    assert torch.allclose(areas / 4.0, torch.tensor([240.0, 472.0]), rtol=0.02)


def test_outlines_beyond_the_border_and_without_area(tmp_path: Path) -> None:
    scenes = {("ulm", "a"): [Thing("car", 0, 50, 30, 70, 60), Thing("person", 0, 5, 5, 5, 9)]}
    _, target, _ = make(write_cityscapes(tmp_path / "cs", scenes=scenes), mode="poly")[0]
    assert target.bbox.tolist() == [[50, 30, 63, 47]]
    assert len(target.get_field("masks")) == 1


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no images '.*leftImg8bit/val/CITY/NAME_leftImg8bit"):
        make(folder, "val")
    with pytest.raises(DatasetError, match="mode must be 'mask' or 'poly', got 'box'"):
        make(folder, mode="box")
    path = folder / "leftImg8bit" / "train" / "bonn" / "bonn_000_leftImg8bit.png"
    Image.new("RGB", (48, 64)).save(path)
    with pytest.raises(DatasetError, match=r"bonn_000.* has 48 x 64 pixels, but .* is for 64 x 48"):
        make(folder)[2]
    (folder / "gtFine" / "train" / "bonn" / "bonn_000_gtFine_polygons.json").unlink()
    with pytest.raises(DatasetError, match=r"no annotations: expected '.*bonn_000_gtFine_polygons"):
        make(folder, mode="poly")
    path.write_text("no image")
    with pytest.raises(DatasetError, match="cannot be read"):
        make(folder).get_img_info(2)
