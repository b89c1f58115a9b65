"""PascalVOCDataset: targets, splits, other sets in the same format, and what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from maskrcnn_benchmark.data.datasets import ConcatDataset, PascalVOCDataset
from maskrcnn_benchmark.data.loader import aspect_groups
from maskrcnn_benchmark.errors import DatasetError
from tests.data.datasets.voc_folder import OBJECTS, write_voc, write_xml


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_voc(tmp_path / "VOC2007")


def test_a_sample(folder: Path) -> None:
    dataset = PascalVOCDataset(folder, "train", use_difficult=True)
    assert len(dataset) == 3
    image, target, index = dataset[0]
    assert (image.size, image.mode, index) == ((64, 48), "RGB", 0)
    assert target.bbox.tolist() == [[0, 0, 19, 29], [10, 5, 59, 47]]
    assert target.get_field("labels").tolist() == [8, 15]
    assert target.get_field("difficult").tolist() == [False, True]
    assert dataset.get_img_info(1) == {
        "height": 60,
        "width": 40,
        "file_name": "000002.jpg",
        "id": "000002",
    }
    assert aspect_groups(dataset) == [0, 1, 1]
    assert len(dataset[2][1]) == 0
    with pytest.raises(IndexError):
        dataset[3]


def test_training_leaves_difficult_objects_out(folder: Path) -> None:
    dataset = PascalVOCDataset(folder, "train")
    assert dataset[0][1].get_field("labels").tolist() == [8]
    assert dataset.get_groundtruth(0).get_field("difficult").tolist() == [False]


def test_names_of_classes(folder: Path) -> None:
    dataset = PascalVOCDataset(folder, "train")
    assert len(dataset.CLASSES) == 21
    assert dataset.CLASSES[0] == "__background__ ", "the old name ends with a space"
    assert dataset.class_names[0] == "__background__"
    assert dataset.map_class_id_to_class_name(15) == "person"
    assert dataset.categories[20] == "tvmonitor"
    assert dataset.ids == ["000001", "000002", "000003"]


def test_boxes_are_cut_at_the_border(tmp_path: Path) -> None:
    objects = {"a": [("cat", 0, -5, 99, 20, 0)]}
    dataset = PascalVOCDataset(write_voc(tmp_path / "voc", objects=objects), "train")
    assert dataset[0][1].bbox.tolist() == [[0, 0, 63, 19]]


def test_transforms_get_image_and_target(folder: Path) -> None:
    dataset = PascalVOCDataset(
        folder, "train", False, lambda image, target: (image.size, target.resize((32, 24)))
    )
    size, target, _ = dataset[0]
    assert size == (64, 48)
    assert target.bbox.tolist() == [[0, 0, 9.5, 14.5]]


def test_names_with_spaces_and_a_list_written_on_windows(tmp_path: Path) -> None:
    objects = {name: OBJECTS["000001"] for name in ("IMG 001 a", "b (2)")}
    root = write_voc(tmp_path / "cats", objects=objects)
    path = root / "ImageSets" / "Main" / "dog_train.txt"
    path.write_bytes("\ufeffIMG 001 a  1\r\nb (2) -1\r\n".encode())
    assert PascalVOCDataset(root, "train").ids == ["IMG 001 a", "b (2)"]
    assert PascalVOCDataset(root, "dog_train").ids == ["IMG 001 a", "b (2)"]


def test_splits_are_joined_with_one_index(folder: Path) -> None:
    lists = folder / "ImageSets" / "Main"
    (lists / "val.txt").write_text("000002\n")
    joined = ConcatDataset([PascalVOCDataset(folder, split) for split in ("train", "val")])
    assert len(joined) == 4
    assert joined[3][2] == 3
    assert joined.get_img_info(3)["id"] == "000002"


def test_a_list_anywhere_and_lists_with_a_second_column(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "mine.txt"
    own.write_text("000003  1\n\n000001 -1\n000003 1\n")
    assert PascalVOCDataset(folder, str(own)).ids == ["000003", "000001"]


def test_classes_of_ones_own_and_no_lists(tmp_path: Path) -> None:
    objects = {"a": [("Fig", 1, 1, 9, 9, 0)], "b": [("nut", 2, 2, 9, 9, 0)]}
    root = write_voc(tmp_path / "fruit", objects=objects, split=None, extension=".png")
    dataset = PascalVOCDataset(root, "all", classes=("nut", "fig"))
    assert dataset.class_names == ("__background__", "nut", "fig")
    assert [dataset[index][1].get_field("labels").tolist() for index in range(2)] == [[2], [1]]


@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_a_class_that_is_not_known(
    tmp_path: Path, on_error: str, caplog: pytest.LogCaptureFixture
) -> None:
    objects = {"a": [("cat", 1, 1, 9, 9, 0), ("yeti", 2, 2, 9, 9, 0)]}
    root = write_voc(tmp_path / "voc", objects=objects)
    if on_error == "stop":
        with pytest.raises(DatasetError, match=r"a\.xml: 'yeti' is none of .*classes=\(\.\.\.\)"):
            PascalVOCDataset(root, "train")
        return
    dataset = PascalVOCDataset(root, "train", on_error="skip")
    assert len(dataset[0][1]) == 1
    assert "1 objects of other classes: left out" in caplog.text


def test_all_that_is_wrong_is_said_at_once(folder: Path) -> None:
    (folder / "Annotations" / "000001.xml").write_text("<annotation>")
    (folder / "JPEGImages" / "000002.jpg").unlink()
    with pytest.raises(DatasetError, match="2 problems") as caught:
        PascalVOCDataset(folder, "train")
    assert "000001.xml' is no XML" in str(caught.value)
    assert "there is no image" in str(caught.value)
    assert PascalVOCDataset(folder, "train", on_error="skip").ids == ["000003"]
    (folder / "Annotations" / "000003.xml").unlink()
    with pytest.raises(DatasetError, match="the split 'train' has no image that can be used"):
        PascalVOCDataset(folder, "train", on_error="skip")


def test_a_size_that_is_not_the_images(folder: Path) -> None:
    write_xml(folder / "Annotations" / "000001.xml", [], size=(48, 64))
    dataset = PascalVOCDataset(folder, "train")
    with pytest.raises(DatasetError, match=r"has 64 x 48 pixels, but its XML file says 48 x 64"):
        dataset[0]


def test_folders_and_lists_that_are_not_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no list .*'val'; there are train\. Write one"):
        PascalVOCDataset(folder, "val")
    with pytest.raises(DatasetError, match=r"JPEGImages or images.*found no such folder"):
        PascalVOCDataset(tmp_path / "nowhere", "train")
    with pytest.raises(DatasetError, match=r"found VOC2007\. Give the folder that holds them"):
        PascalVOCDataset(tmp_path, "train")


@pytest.mark.shared_data
def test_the_real_image(shared: Path) -> None:
    root = shared / "data" / "voc2007_one_image" / "VOCdevkit" / "VOC2007"
    image, target, _ = PascalVOCDataset(root, "trainval", True)[0]
    assert image.size == (500, 330)
    assert target.bbox[1].tolist() == [180, 174, 498, 328]
    assert target.get_field("labels").tolist() == [9, 11, 15, 15]
    assert target.get_field("difficult").tolist() == [False, True, False, True]


@pytest.mark.shared_data
def test_racoons(shared: Path) -> None:
    root = shared / "data" / "raccoon_voc"
    dataset = PascalVOCDataset(root, "all", classes=("raccoon",))
    assert len(dataset) == 200
    assert sum(len(dataset.get_groundtruth(index)) for index in range(200)) == 217
    with (root / "splits" / "test_labels.csv").open() as file:
        row = next(csv.DictReader(file))
    index = dataset.ids.index(Path(row["filename"]).stem)
    wanted = [float(row[key]) - 1 for key in ("xmin", "ymin", "xmax", "ymax")]
    assert wanted in dataset.get_groundtruth(index).bbox.tolist()
    assert dataset[index][0].size == (int(row["width"]), int(row["height"]))
