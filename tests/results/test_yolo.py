from __future__ import annotations

import pytest

from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.yolo import from_yolo, to_yolo
from maskrcnn_benchmark.structures.sizes import HeightWidth

from .same import assert_same


def read(text: str, like: Detections) -> Detections:
    return from_yolo(text, image_size=like.image_size, class_names=like.class_names, path=like.path)


def test_masks_come_back_as_polygons(drawn: Detections) -> None:
    text = to_yolo(drawn)
    assert len(text.splitlines()) == 4
    assert_same(read(text, drawn), drawn)


def test_boxes_come_back(drawn: Detections, boxes_only: Detections) -> None:
    assert_same(read(to_yolo(boxes_only), boxes_only), boxes_only, atol=1e-5)
    text = to_yolo(drawn, with_masks=False)
    assert read(text, drawn).masks is None
    assert to_yolo(boxes_only[:0]) == ""
    assert len(read("\n", drawn)) == 0


def test_lines_are_what_training_wants(boxes_only: Detections) -> None:
    found = Detections(
        image_size=HeightWidth(50, 100),
        boxes=boxes_only.boxes[:1] * 0 + [10, 10, 29, 19],
        scores=[0.5],
        labels=[2],
        class_names=("__background__", "a", "b"),
    )
    assert to_yolo(found, with_scores=False) == "1 0.2 0.3 0.2 0.2\n"
    again = read("1 0.2 0.3 0.2 0.2\n", found)
    assert again.scores.tolist() == [1.0]
    assert again.boxes.tolist() == [[10, 10, 29, 19]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0.1 0.1 0.1", "line 1: expected a class and at least 4"),
        ("\n5 0.1 0.1 0.1 0.1", "line 2: expected a class from 0 to 2, got 5"),
        ("0.5 0.1 0.1 0.1 0.1", "expected a class from 0"),
        ("cat 0.1 0.1 0.1 0.1", "expected numbers"),
        ("0 nan 0.1 0.1 0.1", "at least 4 coordinates"),
        ("0 .1 .1 .1 .1\n0 .1 .1 .2 .1 .2 .2", "boxes and polygons"),
    ],
)
def test_wrong_lines_are_named(drawn: Detections, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read(text, drawn)
