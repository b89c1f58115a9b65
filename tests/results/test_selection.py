"""Some of the detections, and several put together."""

from __future__ import annotations

import numpy as np
import pytest

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.keypoints import FoundKeypoints
from maskrcnn_benchmark.structures.keypoint import KeypointSchema

from .same import assert_same


def test_conditions_are_combined(drawn: Detections) -> None:
    assert drawn.filter(0.25).labels.tolist() == [2, 1]
    assert drawn.filter(labels="cat").scores.tolist() == [0.875, 0.0625]
    assert drawn.filter(labels=["cat", 3], score=0.1).labels.tolist() == [1, 3]
    areas = drawn.areas()
    assert drawn.filter(area=(areas[2], areas[3])).labels.tolist() == [3]
    assert len(drawn.filter()) == 4
    assert len(drawn.filter(labels=[])) == 0
    with pytest.raises(ShapeError, match="there is no class 'dog', only cat"):
        drawn.filter(labels="dog")


def test_areas_are_those_of_masks_or_boxes(drawn: Detections, boxes_only: Detections) -> None:
    assert drawn.areas().tolist() == drawn.dense_masks().sum(axis=(1, 2)).tolist()
    sides = boxes_only.boxes[:, 2:] - boxes_only.boxes[:, :2] + 1
    np.testing.assert_allclose(boxes_only.areas(), sides.prod(axis=1))


def test_parts_are_put_together(drawn: Detections, boxes_only: Detections) -> None:
    together = Detections.concatenate([drawn[:1], drawn[1:1], drawn[1:]])
    assert_same(together, drawn)
    assert_same(Detections.concatenate([boxes_only[:2], boxes_only[2:]]), boxes_only)
    with pytest.raises(ShapeError, match="some parts have masks"):
        Detections.concatenate([drawn, boxes_only])
    with pytest.raises(ShapeError, match="at least one part"):
        Detections.concatenate([])


def test_keypoints_are_put_together() -> None:
    schema = KeypointSchema(names=("a", "b"))
    first = FoundKeypoints(points=np.ones((2, 2, 3)), schema=schema, scores=np.ones((2, 2)))
    together = FoundKeypoints.concatenate([first, first[:1]])
    assert together is not None
    assert together.points.shape == (3, 2, 3)
    assert together.scores is not None
    assert FoundKeypoints.concatenate([None, None]) is None
    for other in (None, FoundKeypoints(points=np.ones((1, 2, 3)), schema=schema)):
        with pytest.raises(ShapeError, match="have keypoints, or scores of them"):
            FoundKeypoints.concatenate([first, other])


def test_the_source_can_be_named(drawn: Detections) -> None:
    named = drawn.with_source(path="b.jpg", image_id=9)
    assert (named.path, named.image_id) == ("b.jpg", 9)
    assert named.masks == drawn.masks


def test_one_label_may_come_as_a_number_of_numpy(drawn: Detections) -> None:
    assert drawn.filter(labels=drawn.labels[1]).labels.tolist() == [1, 1]
    assert drawn.filter(labels=np.array([1, 3])).labels.tolist() == [1, 3, 1]
    for label in (4, -1):
        with pytest.raises(ShapeError, match=f"there is no class {label}, only 0 to 3"):
            drawn.filter(labels=label)
