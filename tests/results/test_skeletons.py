"""Keypoints in pictures."""

from __future__ import annotations

import numpy as np

from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.drawing import draw
from maskrcnn_benchmark.results.keypoints import FoundKeypoints
from maskrcnn_benchmark.structures.keypoint import KeypointSchema
from maskrcnn_benchmark.structures.sizes import HeightWidth

SCHEMA = KeypointSchema(names=("a", "b", "c"), skeleton=((0, 1), (1, 2)))
A, B, C = (60, 70), (120, 70), (120, 110)


def picture_of(keypoints: FoundKeypoints | None, *, min_side: int = 0) -> np.ndarray:
    found = Detections(
        image_size=HeightWidth(160, 200),
        boxes=np.array([[10, 40, 180, 150]]),
        scores=np.array([0.9]),
        labels=np.array([1]),
        class_names=("__background__", "x"),
        keypoints=keypoints,
    )
    image = np.full((160, 200, 3), 128, dtype=np.uint8)
    return np.asarray(draw(image, found, min_side=min_side)).astype(int)


def make(
    scores: list[float] | None = None, visibility: tuple[int, ...] = (2, 2, 2)
) -> FoundKeypoints:
    points = np.array([[(*place, v) for place, v in zip((A, B, C), visibility, strict=True)]])
    return FoundKeypoints(
        points=points, schema=SCHEMA, scores=None if scores is None else np.array([scores])
    )


def changed(keypoints: FoundKeypoints) -> np.ndarray:
    return (picture_of(keypoints) != picture_of(None)).any(axis=2)


def test_dots_and_lines() -> None:
    mask = changed(make())
    for x, y in (A, B, C):
        assert mask[y, x]
    assert mask[70, 61:120].all()
    assert mask[71:110, 120].all()
    assert not mask[110, 60:110].any()  # No line from a to c.
    assert not mask[80:, :110].any()


def test_what_is_not_sure_is_not_drawn() -> None:
    mask = changed(make(scores=[9.0, 9.0, 1.0]))
    assert mask[70, 61:120].all()
    assert not mask[80:].any()
    assert not changed(make(scores=[0.0] * 3)).any()


def test_what_is_not_annotated_is_not_drawn_and_hidden_points_are_rings() -> None:
    mask = changed(make(visibility=(2, 0, 1)))
    assert mask[A[1], A[0]]
    assert mask[C[1], C[0]]
    assert not mask[B[1], B[0]]
    assert not mask[70, 70:110].any()
    picture = picture_of(make(visibility=(2, 0, 1)))
    assert (picture[A[1], A[0]] != picture[C[1], C[0]]).any()


def test_enlarged_pictures() -> None:
    grown = picture_of(make(), min_side=320)
    assert grown.shape == (320, 400, 3)
    mask = (grown != picture_of(None, min_side=320)).any(axis=2)
    rows, columns = np.nonzero(mask)
    assert abs(columns.min() - 121) < 6
    assert abs(rows.max() - 221) < 6
