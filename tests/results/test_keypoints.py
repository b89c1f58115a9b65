"""Found keypoints: their parts, where they come from, where they go."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.results.coco import coco_document, detections_from_coco
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.keypoints import FoundKeypoints
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import PERSON, Keypoints, KeypointSchema
from maskrcnn_benchmark.structures.sizes import HeightWidth

SCHEMA = KeypointSchema(names=("head", "fin", "tail"), skeleton=((0, 1), (1, 2)))
NAMES = ("__background__", "fish")
POINTS = np.array(
    [[[3.3, 4, 1], [10, 8, 1], [20, 9, 1]], [[5, 5, 1], [6, 6, 1], [7, 7, 1]]], dtype=np.float32
)
SCORES = np.array([[5.5, 1, -3], [2.0, 2.1, 9]], dtype=np.float32)


def make_detections(**changes: object) -> Detections:
    fields: dict[str, object] = {
        "image_size": HeightWidth(20, 30),
        "boxes": [[3, 2, 25, 14], [4, 4, 8, 8]],
        "scores": [0.5, 0.9],
        "labels": [1, 1],
        "class_names": NAMES,
        "keypoints": FoundKeypoints(points=POINTS, schema=SCHEMA, scores=SCORES),
        "image_id": 7,
    }
    return Detections(**(fields | changes))  # type: ignore[arg-type]


def test_what_is_shown() -> None:
    found = FoundKeypoints(points=POINTS, schema=SCHEMA, scores=SCORES)
    assert found.is_shown.tolist() == [[True, False, False], [False, True, True]]
    points = POINTS.copy()
    points[0, 1, 2] = 0
    truth = FoundKeypoints(points=points, schema=SCHEMA)
    assert truth.is_shown.tolist() == [[True, False, True], [True] * 3]


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(N, 3, 3\).*got \(2, 2, 3\)"):
        FoundKeypoints(points=POINTS[:, :2], schema=SCHEMA)
    with pytest.raises(ShapeError, match=r"scores of keypoints must have shape \(2, 3\)"):
        FoundKeypoints(points=POINTS, schema=SCHEMA, scores=SCORES[:1])
    with pytest.raises(ShapeError, match="keypoints for each of 2 boxes, got them for 1"):
        make_detections(keypoints=FoundKeypoints(points=POINTS[:1], schema=SCHEMA))


def test_selection_keeps_them_beside_their_boxes() -> None:
    best = make_detections().sorted()[0]
    assert best.keypoints is not None
    assert best.keypoints.points.tolist() == POINTS[1:].tolist()
    assert best.keypoints.scores is not None
    assert best.keypoints.scores.tolist() == SCORES[1:].tolist()
    none = make_detections().filter(0.95)
    assert none.keypoints is not None
    assert none.keypoints.points.shape == (0, 3, 3)


def test_from_the_network_to_original_pixels() -> None:
    boxlist = BoxList(torch.tensor([[3.0, 2, 25, 14]]), (60, 10))
    boxlist.add_field("scores", torch.tensor([0.5]))
    boxlist.add_field("labels", torch.tensor([1]))
    keypoints = Keypoints(torch.from_numpy(POINTS[:1]), (60, 10))
    keypoints.add_field("logits", torch.from_numpy(SCORES[:1]))
    boxlist.add_field("keypoints", keypoints)
    found = Detections.from_boxlist(
        boxlist,
        image_size=HeightWidth(20, 30),
        class_names=NAMES,
        keypoint_schema=SCHEMA,
        keypoint_threshold=5.0,
    )
    assert found.keypoints is not None
    np.testing.assert_allclose(found.keypoints.points[0, :, 0], POINTS[0, :, 0] / 2)
    np.testing.assert_allclose(found.keypoints.points[0, :, 1], POINTS[0, :, 1] * 2)
    assert found.keypoints.schema is SCHEMA
    assert found.keypoints.is_shown.tolist() == [[True, False, False]]


def test_ground_truth() -> None:
    targets = BoxList(torch.tensor([[3.0, 2, 25, 14]]), (30, 20))
    targets.add_field("labels", torch.tensor([1]))
    targets.add_field("keypoints", Keypoints(torch.from_numpy(POINTS[:1]), (30, 20), schema=SCHEMA))
    there = Detections.from_targets(targets, class_names=NAMES, image_size=HeightWidth(40, 60))
    assert there.keypoints is not None
    assert there.keypoints.scores is None
    assert there.keypoints.schema is SCHEMA
    np.testing.assert_allclose(there.keypoints.points[..., :2], POINTS[:1, :, :2] * 2)


def test_coco_there_and_back() -> None:
    found = make_detections()
    entries = json.loads(json.dumps(found.to_coco()))
    assert entries[0]["keypoints"] == [3.3, 4, 1, 10, 8, 1, 20, 9, 1]
    assert entries[0]["keypoint_scores"] == [5.5, 1, -3]
    back = detections_from_coco(
        entries,
        image_size=found.image_size,
        class_names=NAMES,
        labels_of_categories={1: 1},
        keypoint_schema=SCHEMA,
    )
    assert back.keypoints is not None
    assert found.keypoints is not None
    assert np.array_equal(back.keypoints.points, POINTS)
    assert back.keypoints.scores is not None
    assert np.array_equal(back.keypoints.scores, SCORES)
    assert np.array_equal(back.boxes, found.boxes)


def test_results_of_keypoints_alone_get_a_box() -> None:
    entry = {"image_id": 7, "category_id": 1, "score": 0.5, "keypoints": [2, 3, 1] * 16 + [9, 5, 1]}
    back = detections_from_coco(
        [entry],
        image_size=HeightWidth(20, 30),
        class_names=NAMES,
        labels_of_categories={1: 1},
    )
    assert back.boxes.tolist() == [[2, 3, 9, 5]]
    assert back.keypoints is not None
    assert back.keypoints.schema is PERSON
    assert back.keypoints.scores is None


def test_document_names_the_keypoints() -> None:
    document = coco_document([make_detections()])
    assert document["categories"] == [
        {
            "id": 1,
            "name": "fish",
            "keypoints": ["head", "fin", "tail"],
            "skeleton": [[1, 2], [2, 3]],
        }
    ]
    assert [entry["num_keypoints"] for entry in document["annotations"]] == [3, 3]


def test_as_json() -> None:
    content = json.loads(make_detections().to_json())["keypoints"]
    assert content["names"] == list(SCHEMA.names)
    assert content["points"][0][0] == [3.3, 4, 1]
    assert content["skeleton"] == [[0, 1], [1, 2]]
    assert json.loads(make_detections(keypoints=None).to_json())["keypoints"] is None
