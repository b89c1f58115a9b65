from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark.errors import DatasetError, ShapeError
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.instance_png import instance_map, read_png, write_png

from .same import assert_same


def test_objects_apart_come_back(drawn: Detections, tmp_path: Path) -> None:
    apart = drawn[:3]
    write_png(tmp_path / "a.png", apart)
    again = read_png(tmp_path / "a.png")
    assert_same(again, apart)
    assert again.image_id == 3
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "I;16"
        assert set(np.unique(np.asarray(image))) == {0, 1, 2, 3}


def test_the_better_object_lies_on_top(drawn: Detections) -> None:
    numbers = instance_map(drawn)
    dense = drawn.dense_masks()
    assert (numbers[dense[0]] == 1).all()
    assert (numbers[dense[3] & ~dense[0]] == 4).all()


def test_more_than_255_objects_have_numbers(drawn: Detections, tmp_path: Path) -> None:
    many = drawn[[1] * 299 + [2]]
    write_png(tmp_path / "a.png", many)
    assert read_png(tmp_path / "a.png").masks[299] == many.masks[299]  # type: ignore[index]


def test_other_files_are_refused(drawn: Detections, boxes_only: Detections, tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="no masks"):
        write_png(tmp_path / "a.png", boxes_only)
    Image.new("L", (2, 2)).save(tmp_path / "b.png")
    with pytest.raises(DatasetError, match="does not say what its numbers stand for"):
        read_png(tmp_path / "b.png")
    (tmp_path / "c.png").write_text("no image")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_png(tmp_path / "c.png")
