import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.writers import read_csv, write_coco, write_csv, write_json
from maskrcnn_benchmark.structures.sizes import HeightWidth


def make_detections() -> Detections:
    return Detections(
        image_size=HeightWidth(20, 30),
        boxes=np.array([[3, 2, 8, 4], [20.25, 10.5, 24, 11]], dtype=np.float32),
        scores=np.array([0.5, 0.875]),
        labels=np.array([2, 1]),
        class_names=("__background__", "cat", 'a "dog", perhaps'),
        image_id=3,
        path="a.jpg",
    )


def test_csv_has_one_line_for_each_object(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [make_detections(), make_detections()[:0]])
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ['a "dog", perhaps', "cat"]
    assert rows[1]["x1"] == "20.25"
    assert rows[0]["image_id"] == "3"


def test_coco_is_json(tmp_path: Path) -> None:
    write_coco(tmp_path / "a.json", [make_detections()], category_ids={1: 10, 2: 20})
    content = json.loads((tmp_path / "a.json").read_text())
    assert [annotation["category_id"] for annotation in content["annotations"]] == [20, 10]


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, [1])
    with pytest.raises(TypeError):
        write_json(path, [object()])
    assert json.loads(path.read_text()) == [1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_csv_comes_back(tmp_path: Path) -> None:
    first = make_detections()
    write_csv(tmp_path / "a.csv", [first, first.with_source(path="b.jpg")])
    again = read_csv(tmp_path / "a.csv", first.class_names)
    assert [found.path for found in again] == ["a.jpg", "b.jpg"]
    for found in again:
        assert found.boxes.tolist() == first.boxes.tolist()
        assert found.scores.tolist() == first.scores.tolist()
        assert found.labels.tolist() == first.labels.tolist()
        assert found.image_size == first.image_size
    assert [found.image_id for found in again] == [3, None]


def test_other_csv_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("image_id,path\n")
    with pytest.raises(DatasetError, match="lacks the columns class, image_height"):
        read_csv(path, ["__background__"])
    write_csv(path, [make_detections()])
    with pytest.raises(DatasetError, match=r"a\.csv: .*not in list"):
        read_csv(path, ["__background__", "cat"])


@pytest.mark.parametrize("name", ["a\rb", "cat\r", "a\nb", "a\r\nb", " cat", "Süßes, 'x'", ""])
def test_csv_keeps_odd_names(tmp_path: Path, name: str) -> None:
    found = replace(make_detections(), class_names=("__background__", "cat", name))
    found = found.with_source(path="caf\udce9\r.jpg", image_id=3)
    write_csv(tmp_path / "a.csv", [found])
    (again,) = read_csv(tmp_path / "a.csv", found.class_names)
    assert again.names == found.names
    assert again.path == found.path
    np.testing.assert_array_equal(again.boxes, found.boxes)


@pytest.mark.parametrize("image_id", [0, 12, -3, "007", "--3", "²", "a", "1.0", None])
def test_csv_keeps_image_ids(tmp_path: Path, image_id: int | str | None) -> None:
    write_csv(tmp_path / "a.csv", [make_detections().with_source(image_id=image_id)])
    (again,) = read_csv(tmp_path / "a.csv", make_detections().class_names)
    assert again.image_id == image_id
    assert type(again.image_id) is type(image_id)
