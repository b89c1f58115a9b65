"""Scoring keypoints: published numbers, numbers by hand, and where the tolerances come from."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from maskrcnn_benchmark.data.datasets.evaluation.coco import evaluate_detections, score_coco
from maskrcnn_benchmark.data.datasets.evaluation.coco.keypoints import find_sigmas
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.keypoints import FoundKeypoints
from maskrcnn_benchmark.structures.keypoint import PERSON, KeypointSchema
from maskrcnn_benchmark.structures.sizes import HeightWidth

SCHEMA = KeypointSchema(names=("head", "tail"), skeleton=((0, 1),), sigmas=(0.1, 0.1))
FISH = {"id": 5, "name": "fish", "keypoints": ["head", "tail"]}


def make_coco(annotations: list[dict[str, Any]], **record: Any) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": 10, "width": 200, "height": 200}],
        "categories": [{**FISH, **record}],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def target(number: int, keypoints: list[float], **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": 10,
        "category_id": 5,
        "bbox": [0, 0, 100, 100],
        "area": 100.0**2,
        "iscrowd": 0,
        "keypoints": keypoints,
        **more,
    }


def found(keypoints: list[float], score: float = 0.9) -> dict[str, Any]:
    return {"image_id": 10, "category_id": 5, "keypoints": keypoints, "score": score}


@pytest.mark.shared_data
def test_published_numbers(shared: Path) -> None:
    folder = shared / "data" / "eval_ref" / "xtcocoapi" / "annotations"
    coco = COCO()
    coco.dataset = json.loads((folder / "example_coco_val.json").read_text())
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    entries = json.loads((folder / "example_coco_preds.json").read_text())
    scores = score_coco(coco, entries, iou_type="keypoints")
    published = {"AP": 0.8609, "AP50": 0.9931, "AP75": 0.9109, "APm": 0.7756, "APl": 0.9373}
    for name, value in published.items():
        assert scores.metrics[name] == pytest.approx(value, abs=5e-5)
    assert scores.metrics["AR@20"] == pytest.approx(0.875, abs=5e-5)
    # Two of the fourteen persons have no keypoint.
    assert scores.per_class["person"]["objects"] == 12


def test_similarity_by_hand() -> None:
    """One keypoint is exact, the other off by d: similarity (1 + exp(-d^2 / (2 area (2 sigma)^2))) / 2."""
    coco = make_coco([target(1, [10, 10, 2, 90, 90, 1])])
    distance = 20.0
    similarity = (1 + math.exp(-(distance**2) / (2 * 100.0**2 * 0.2**2))) / 2
    assert 0.8 < similarity < 0.9
    scores = score_coco(
        coco,
        [found([10, 10, 1, 90, 90 - distance, 1])],
        iou_type="keypoints",
        oks_sigmas=(0.1, 0.1),
    )
    # Found at the thresholds .5 ... .8, not beyond.
    thresholds = np.arange(0.5, 1.0, 0.05)
    assert scores.metrics["AP"] == pytest.approx((thresholds <= similarity).mean())
    assert scores.metrics["AP50"] == pytest.approx(1.0)
    assert scores.per_class["fish"]["AP"] == pytest.approx(scores.metrics["AP"])
    assert scores.per_class["fish"]["objects"] == 1


def test_objects_without_keypoints_are_not_missed() -> None:
    annotations = [target(1, [10, 10, 2, 90, 90, 1]), target(2, [0] * 6), target(3, [])]
    scores = score_coco(
        make_coco(annotations, sigmas=[0.1, 0.1]),
        [found([10, 10, 1, 90, 90, 1])],
        iou_type="keypoints",
    )
    assert scores.metrics["AP"] == pytest.approx(1.0)
    assert scores.per_class["fish"]["objects"] == 1


def test_the_data_set_is_left_as_it_is() -> None:
    coco = make_coco([target(1, [10, 10, 2, 90, 90, 1])])
    before = json.dumps(coco.dataset)
    score_coco(coco, [found([1, 1, 1, 2, 2, 1])], iou_type="keypoints", oks_sigmas=(0.1, 0.1))
    assert json.dumps(coco.dataset) == before


def test_where_tolerances_come_from(caplog: pytest.LogCaptureFixture) -> None:
    assert find_sigmas([FISH], [], (0.3, 0.4)) == (0.3, 0.4)
    assert find_sigmas([{**FISH, "sigmas": [0.2, 0.2]}], []) == (0.2, 0.2)
    assert find_sigmas([{"keypoints": list(PERSON.names)}], []) == PERSON.sigmas
    assert find_sigmas([{"name": "fish"}], [{"keypoints": [0, 0, 0] * 17}]) == PERSON.sigmas
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert find_sigmas([FISH], []) == (0.05, 0.05)
    assert "KEYPOINT_OKS_SIGMAS" in caplog.text


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(DatasetError, match="has no keypoints"):
        find_sigmas([{"name": "fish"}], [{"bbox": [0, 0, 1, 1]}])
    with pytest.raises(DatasetError, match=r"2 keypoints, but there are 1 sigmas"):
        find_sigmas([FISH], [], (0.1,))
    coco = make_coco([target(1, [10, 10, 2, 90, 90, 1])], sigmas=[0.1, 0.1])
    with pytest.raises(DatasetError, match=r"result 0 \(image 10\) must have 2 keypoints.*got 3"):
        score_coco(coco, [found([1, 1, 1])], iou_type="keypoints")
    with pytest.raises(DatasetError, match="got none"):
        score_coco(coco, [{"image_id": 10, "category_id": 5, "score": 0.5}], iou_type="keypoints")


class Fishes:
    """A data set of one image with one fish."""

    def __init__(self) -> None:
        self.coco = make_coco([target(1, [10, 10, 2, 90, 90, 2])])
        self.contiguous_category_id_to_json_id = {1: 5}
        self.id_to_img_map = {0: 10}
        self.keypoint_schema = SCHEMA

    def __len__(self) -> int:
        return 1

    def get_img_info(self, index: int) -> dict[str, Any]:
        return {"width": 200, "height": 200}


def test_evaluation_of_detections(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    detections = Detections(
        image_size=HeightWidth(200, 200),
        boxes=np.array([[0, 0, 99, 99]]),
        scores=np.array([0.75]),
        labels=np.array([1]),
        class_names=("__background__", "fish"),
        keypoints=FoundKeypoints(
            points=np.array([[[10, 10, 1], [90, 90, 1]]]), schema=SCHEMA, scores=np.array([[7, 8]])
        ),
    )
    with caplog.at_level(logging.INFO):
        results, raw = evaluate_detections(
            Fishes(), [detections], output_folder=tmp_path, iou_types=("bbox", "keypoints")
        )
    assert results.results["keypoints"]["AP"] == pytest.approx(1.0)
    assert list(results.results["keypoints"])[:5] == ["AP", "AP50", "AP75", "APm", "APl"]
    assert "Task: keypoints\nAP, AP50, AP75, APm, APl" in caplog.text
    (entry,) = json.loads((tmp_path / "keypoints.json").read_text())
    assert entry == raw["keypoints"][0]
    assert entry["keypoints"] == [10, 10, 1, 90, 90, 1]
    assert entry["score"] == 0.75
    assert "bbox" not in entry
    assert "keypoints" not in raw["bbox"][0]
    # As COCO's own tools read it.
    with contextlib.redirect_stdout(io.StringIO()):
        assert len(Fishes().coco.loadRes(str(tmp_path / "keypoints.json")).anns) == 1
