from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from maskrcnn_benchmark.build.direct_data import data_from_files, find_data
from maskrcnn_benchmark.errors import DatasetError


def write_coco(
    path: Path,
    images: list[str],
    *,
    folder: Path | None = None,
    classes: tuple[str, ...] = ("cat", "dog"),
) -> Path:
    """Write a COCO file; its images (empty: discovery looks at names only) go into `folder`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "images": [
            {"id": index, "file_name": name, "width": 4, "height": 3}
            for index, name in enumerate(images)
        ],
        "annotations": [],
        "categories": [{"id": 10 * index, "name": name} for index, name in enumerate(classes, 1)],
    }
    path.write_text(json.dumps(content))
    for name in images if folder is not None else ():
        assert folder is not None
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return path


def test_coco_layout(tmp_path: Path) -> None:
    root = tmp_path / "my coco"
    annotations = root / "annotations"
    train = write_coco(
        annotations / "instances_train2017.json", ["a.jpg", "b.jpg"], folder=root / "train2017"
    )
    val = write_coco(annotations / "instances_val2017.json", ["a.jpg"], folder=root / "val2017")
    for other in ("captions_train2017", "person_keypoints_val2017"):
        (annotations / f"{other}.json").write_text("{}")

    data = find_data(root)

    assert data.train.annotations == train
    assert data.train.images == root / "train2017"
    assert data.train.name == "my_coco_train"
    assert data.train.class_names == ("cat", "dog")
    assert data.train.num_images == 2
    assert data.val is not None
    assert data.val.annotations == val
    # The same name lies in train2017 too: the folder with the split's name wins.
    assert data.val.images == root / "val2017"
    assert data.num_classes == 3


def test_keypoints_are_found_where_they_are_wanted(tmp_path: Path) -> None:
    folder = tmp_path / "annotations"
    for split in ("train2017", "val2017"):
        for task in ("instances", "person_keypoints"):
            path = write_coco(
                folder / f"{task}_{split}.json", [f"{split}.jpg"], folder=tmp_path / split
            )
        content = json.loads(path.read_text())
        content["categories"][0]["keypoints"] = ["nose", "tail"]
        path.write_text(json.dumps(content))
    assert find_data(tmp_path).train.annotations.name == "instances_train2017.json"
    assert find_data(tmp_path).train.num_keypoints == 0
    data = find_data(tmp_path, keypoints=True)
    assert data.train.annotations.name == "person_keypoints_train2017.json"
    assert data.train.num_keypoints == 2
    assert data.val is not None
    assert data.val.annotations.name == "person_keypoints_val2017.json"


def test_roboflow_layout_has_images_beside_the_json(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        write_coco(
            tmp_path / split / "_annotations.coco.json", [f"{split}.jpg"], folder=tmp_path / split
        )
    data = find_data(tmp_path)
    assert data.train.images == tmp_path / "train"
    assert data.val is not None
    assert data.val.images == tmp_path / "valid"


def test_flat_layout_with_one_image_folder(tmp_path: Path) -> None:
    images = tmp_path / "images"
    write_coco(tmp_path / "train.json", ["a.jpg"], folder=images)
    write_coco(tmp_path / "val.json", ["b.jpg"], folder=images)
    data = find_data(tmp_path)
    assert data.val is not None
    assert data.train.images == data.val.images == images


def test_one_json_is_for_training_only(tmp_path: Path) -> None:
    write_coco(tmp_path / "boxes.json", ["x/a.jpg"], folder=tmp_path)
    data = find_data(tmp_path)
    assert data.val is None
    assert data.train.images == tmp_path
    pairs = data.overrides()
    assert pairs[pairs.index("DATASETS.TEST") + 1] == "()"


def test_test_set_serves_for_validation_only_with_boxes(tmp_path: Path) -> None:
    write_coco(tmp_path / "train.json", ["a.jpg"], folder=tmp_path)
    (tmp_path / "image_info_test2017.json").write_text('{"images": [], "categories": []}')
    assert find_data(tmp_path).val is None
    write_coco(tmp_path / "instances_test.json", ["b.jpg"], folder=tmp_path)
    assert find_data(tmp_path).val is not None


def test_overrides_are_key_value_pairs_of_literals(tmp_path: Path) -> None:
    write_coco(tmp_path / "train.json", ["a.jpg"], folder=tmp_path)
    write_coco(tmp_path / "val.json", ["b.jpg"], folder=tmp_path)
    pairs = find_data(tmp_path).overrides()
    values = {
        key: ast.literal_eval(value) for key, value in zip(pairs[::2], pairs[1::2], strict=True)
    }
    (train,) = values["DATASETS.TRAIN"]
    (val,) = values["DATASETS.TEST"]
    assert values["DATASETS.CUSTOM"][train] == {
        "ann_file": str(tmp_path / "train.json"),
        "img_dir": str(tmp_path),
    }
    assert set(values["DATASETS.CUSTOM"]) == {train, val}


def test_given_files(tmp_path: Path) -> None:
    train = write_coco(tmp_path / "A.json", ["a.jpg"], folder=tmp_path / "B")
    val = write_coco(tmp_path / "C.json", ["b.jpg"], folder=tmp_path / "D")
    data = data_from_files(
        train_json=train, train_images=tmp_path / "B", val_json=val, val_images=tmp_path / "D"
    )
    assert data.train.name == "A_train"
    assert data.val is not None
    assert data.val.images == tmp_path / "D"
    (tmp_path / "B" / "b.jpg").touch()
    same_folder = data_from_files(train_json=train, train_images=tmp_path / "B", val_json=val)
    assert same_folder.val is not None
    assert same_folder.val.images == tmp_path / "B"


def test_ambiguous_names_are_listed(tmp_path: Path) -> None:
    for name in ("train_a", "train_b"):
        write_coco(tmp_path / f"{name}.json", ["a.jpg"], folder=tmp_path)
    with pytest.raises(DatasetError, match=r"train_a\.json, train_b\.json.*--train-json"):
        find_data(tmp_path)


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"found no \.json"):
        find_data(tmp_path)
    write_coco(tmp_path / "val.json", ["a.jpg"], folder=tmp_path)
    with pytest.raises(DatasetError, match=r"found only val\.json"):
        find_data(tmp_path)
    with pytest.raises(DatasetError, match="Expected a folder"):
        find_data(tmp_path / "nowhere")


def test_images_elsewhere(tmp_path: Path) -> None:
    write_coco(tmp_path / "train.json", ["a.jpg"])
    with pytest.raises(DatasetError, match=r"None of the images.*'a\.jpg'.*--train-images"):
        find_data(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "missing: images, annotations, categories"),
        ('{"images": [], "annotations": []}', "missing: categories"),
        ('{"images": [], "annotations": [], "categories": []}', "declares no images"),
        (
            '{"images": [{"file_name": "a"}], "annotations": [], "categories": []}',
            "declares no categories",
        ),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "needs a file_name"),
    ],
)
def test_file_that_is_not_coco(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "train.json"
    path.write_text(content)
    with pytest.raises(DatasetError, match=message):
        data_from_files(train_json=path, train_images=tmp_path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.json' cannot be read"):
        data_from_files(train_json=tmp_path / "none.json", train_images=tmp_path)


def test_sets_with_different_categories(tmp_path: Path) -> None:
    write_coco(tmp_path / "train.json", ["a.jpg"], folder=tmp_path)
    write_coco(tmp_path / "val.json", ["b.jpg"], folder=tmp_path, classes=("cat", "bird"))
    with pytest.raises(DatasetError, match="cat, bird against cat, dog"):
        find_data(tmp_path)


@pytest.mark.shared_data
def test_a_link_to_a_folder_shows_no_second_file(tmp_path: Path) -> None:
    write_coco(tmp_path / "v2" / "train.json", ["a.jpg"], folder=tmp_path / "v2")
    (tmp_path / "latest").symlink_to(tmp_path / "v2")
    assert find_data(tmp_path).train.images.resolve() == tmp_path.resolve() / "v2"


@pytest.mark.skipif(os.sep == "\\", reason="there a backslash is a separator")
def test_names_written_on_windows_get_their_hint(tmp_path: Path) -> None:
    write_coco(tmp_path / "train.json", ["images\\a.jpg"])
    with pytest.raises(DatasetError, match="write / in file_name"):
        find_data(tmp_path)


def test_real_sets(shared: Path) -> None:
    coco = find_data(shared / "data" / "coco_mini")
    assert coco.num_classes == 81
    assert coco.train.annotations.name == "instances_train2017.json"
    assert coco.train.images.name == "train2017"
    assert coco.val is not None
    assert coco.val.images.name == "val2017"
    fruits = find_data(shared / "data" / "fruits_nuts" / "data")
    assert fruits.train.class_names == ("date", "fig", "hazelnut")
    assert fruits.val is None
    roboflow = find_data(shared / "data/datumaro_fixtures/tests/assets/coco_dataset/coco_roboflow")
    assert roboflow.val is not None


def test_needs_no_torch() -> None:
    code = (
        "import sys; import maskrcnn_benchmark.build.direct_data; sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
