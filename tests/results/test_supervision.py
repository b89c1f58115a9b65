from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from maskrcnn_benchmark.errors import MissingExtraError
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.supervision import (
    from_supervision,
    supervision_fields,
    to_supervision,
)

from .same import assert_same


def read(found: object, like: Detections) -> Detections:
    return from_supervision(
        found, image_size=like.image_size, class_names=like.class_names, path=like.path
    )


def test_the_fields_come_back(drawn: Detections, boxes_only: Detections) -> None:
    for each in (drawn, boxes_only, drawn[:0], boxes_only[:0]):
        assert_same(read(SimpleNamespace(**supervision_fields(each)), each), each)


def test_the_fields_are_what_supervision_means(drawn: Detections) -> None:
    fields = supervision_fields(drawn)
    assert fields["class_id"].tolist() == [1, 0, 2, 0]
    assert fields["data"]["class_name"].tolist()[1] == "cat"
    assert fields["mask"].shape == (4, 60, 80)
    assert fields["xyxy"][1].tolist() == [60, 40, 80, 60]


def test_scores_and_classes_may_be_missing(drawn: Detections) -> None:
    bare = SimpleNamespace(xyxy=np.array([[1, 2, 5, 6]]), confidence=None, class_id=None, mask=None)
    found = read(bare, drawn)
    assert found.scores.tolist() == [1.0]
    assert found.names == ["cat"]


def test_a_missing_package_is_named(drawn: Detections, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtraError, match=r"maskrcnn-benchmark\[supervision\]"):
        drawn.to_supervision()


def test_the_package_takes_them(drawn: Detections, boxes_only: Detections) -> None:
    supervision = pytest.importorskip("supervision")
    for each in (drawn, boxes_only):
        found = to_supervision(each)
        assert isinstance(found, supervision.Detections)
        assert len(found) == 4
        assert_same(read(found, each), each)
        assert len(found[found.confidence > 0.4]) == 2
