from __future__ import annotations

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.labelme import from_labelme, to_labelme
from maskrcnn_benchmark.results.masks import decode_mask

from .same import assert_same


def test_masks_come_back(drawn: Detections) -> None:
    document = json.loads(json.dumps(to_labelme(drawn)))
    assert_same(from_labelme(document, drawn.class_names), drawn)
    assert document["imagePath"] == "a.jpg"
    groups = [shape["group_id"] for shape in document["shapes"]]
    assert groups == [None, None, 3, 3, None]


def test_boxes_come_back(boxes_only: Detections) -> None:
    document = json.loads(json.dumps(to_labelme(boxes_only)))
    assert {shape["shape_type"] for shape in document["shapes"]} == {"rectangle"}
    assert_same(from_labelme(document, boxes_only.class_names), boxes_only)
    assert_same(from_labelme(to_labelme(boxes_only[:0]), boxes_only.class_names), boxes_only[:0])


def test_fewer_points_are_easier_to_move(drawn: Detections) -> None:
    exact, rough = to_labelme(drawn), to_labelme(drawn, tolerance=1.0, image_path="../a.jpg")
    assert rough["imagePath"] == "../a.jpg"
    count = [sum(len(shape["points"]) for shape in each["shapes"]) for each in (exact, rough)]
    assert count[1] < count[0] * 0.7


def make(*shapes: dict[str, object]) -> dict[str, object]:
    about = {"label": "cat", "group_id": None}
    return {
        "imageHeight": 20,
        "imageWidth": 30,
        "shapes": [{**about, **shape} for shape in shapes],
    }


def test_shapes_drawn_in_the_program_are_read() -> None:
    png = io.BytesIO()
    Image.fromarray(np.full((4, 5), 255, dtype=np.uint8)).save(png, format="PNG")
    mask = base64.b64encode(png.getvalue()).decode()
    found = from_labelme(
        make(
            {"shape_type": "circle", "points": [[10, 10], [15, 10]]},
            {"shape_type": "mask", "points": [[20, 2], [25, 6]], "mask": mask},
        ),
        ("__background__", "cat"),
    )
    assert found.masks is not None
    assert abs(decode_mask(found.masks[0]).sum() - 78.5) < 8
    assert decode_mask(found.masks[1])[2:6, 20:25].sum() == 20
    assert found.boxes[1].tolist() == [20, 2, 24, 5]
    assert found.scores.tolist() == [1, 1]


def test_what_cannot_be_read_is_named() -> None:
    with pytest.raises(DatasetError, match="LabelMe shape 'cat': expected one of the classes dog"):
        from_labelme(
            make({"shape_type": "rectangle", "points": [[1, 1], [2, 2]]}), ("__background__", "dog")
        )
    with pytest.raises(DatasetError, match="is a point; expected polygon"):
        from_labelme(make({"shape_type": "point", "points": [[1, 1]]}), ("__background__", "cat"))


def test_a_score_of_0_stays(boxes_only: Detections) -> None:
    unsure = replace(boxes_only, scores=np.zeros(4, dtype=np.float32))
    assert from_labelme(to_labelme(unsure), unsure.class_names).scores.tolist() == [0.0] * 4
