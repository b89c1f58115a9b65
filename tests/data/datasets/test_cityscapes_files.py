"""Cityscapes' annotation files: what is read of them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark.data.datasets.cityscapes_files import (
    read_instance_image,
    read_polygon_file,
)
from maskrcnn_benchmark.errors import DatasetError


def test_instances_and_their_boxes(tmp_path: Path) -> None:
    pixels = np.zeros((20, 30), dtype=np.uint16)
    pixels[3:6, 4:10] = 26002
    pixels[15, 29] = 26002
    pixels[0, 0] = 24000
    pixels[10, 10] = 999
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = read_instance_image(tmp_path / "a.png")
    assert found.numbers.tolist() == [24000, 26002]
    assert found.class_ids.tolist() == [24, 26]
    assert found.boxes.tolist() == [[0, 0, 0, 0], [4, 3, 29, 15]]
    assert (found.pixels == pixels).all()


def test_no_instances(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 33, dtype=np.uint8)).save(tmp_path / "a.png")
    assert read_instance_image(tmp_path / "a.png").boxes.shape == (0, 4)


def test_images_that_hold_no_numbers(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "colour.png")
    with pytest.raises(DatasetError, match=r"one channel .* got an image of shape \(4, 4, 3\)"):
        read_instance_image(tmp_path / "colour.png")
    (tmp_path / "text.png").write_text("<html>")
    with pytest.raises(DatasetError, match=r"text\.png' cannot be read"):
        read_instance_image(tmp_path / "text.png")
    with pytest.raises(DatasetError, match="annotation file not found"):
        read_instance_image(tmp_path / "none.png")


def test_polygons(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    objects = [
        {"label": "car", "polygon": [[0, 1], [2.5, 3], [4, 5]]},
        {"label": "car", "polygon": [[0, 0]], "deleted": 1},
    ]
    path.write_text(json.dumps({"imgWidth": 7, "imgHeight": 5, "objects": objects}))
    found = read_polygon_file(path)
    assert (found.width, found.height) == (7, 5)
    (outline,) = found.outlines
    assert (outline.label, outline.points) == ("car", (0, 1, 2.5, 3, 4, 5))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON that can be read"),
        ("[]", "expected an object with imgWidth, imgHeight"),
        ('{"imgWidth": 1, "imgHeight": 1}', "KeyError"),
        ('{"imgWidth": 1, "imgHeight": 1, "objects": [{"label": "car"}]}', "object 0: expected"),
        (
            '{"imgWidth": 1, "imgHeight": 1, "objects": [{"label": "car", "polygon": [[1, NaN]]}]}',
            "a coordinate is not finite",
        ),
    ],
)
def test_polygon_files_that_cannot_be_used(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(DatasetError, match=message):
        read_polygon_file(path)
    path.unlink()
    with pytest.raises(DatasetError, match="annotation file not found"):
        read_polygon_file(path)


@pytest.mark.shared_data
def test_real_files(shared: Path) -> None:
    folder = shared / "data" / "cityscapes_format" / "cityscapes" / "gtFine" / "train" / "newyork"
    found = read_instance_image(folder / "newyork_gtFine_instanceIds.png")
    assert found.numbers.tolist() == [*range(26000, 26016), 27000]
    for number, box in zip(found.numbers[[0, -1]], found.boxes[[0, -1]], strict=True):
        rows, columns = np.nonzero(found.pixels == number)
        assert box.tolist() == [columns.min(), rows.min(), columns.max(), rows.max()]
    polygons = read_polygon_file(folder / "newyork_gtFine_polygons.json")
    assert (polygons.height, polygons.width) == found.pixels.shape
    assert [outline.label for outline in polygons.outlines].count("car") == 16
