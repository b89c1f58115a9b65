import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from maskrcnn_benchmark.data.datasets.evaluation.coco.scoring import score_coco
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.results.masks import encode_mask

SIZE = 200


def make_coco(annotations: list[dict[str, Any]], *, images: int = 2, classes: int = 1) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": 10 + n, "width": SIZE, "height": SIZE} for n in range(images)],
        "categories": [{"id": 5 + n, "name": f"class {n}"} for n in range(classes)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def target(number: int, image: int, box: list[float], **more: Any) -> dict[str, Any]:
    x, y, w, h = box
    return {
        "id": number,
        "image_id": image,
        "category_id": 5,
        "bbox": box,
        "area": w * h,
        "iscrowd": 0,
        "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
        **more,
    }


def found(image: int, box: list[float], score: float, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": 5, "bbox": box, "score": score, **more}


BOX_A, BOX_B, NOWHERE = [10, 10, 50, 50], [100, 100, 60, 60], [150, 5, 40, 40]


def test_precision_by_hand() -> None:
    """Hit, false alarm, hit: precision 1 up to recall 1/2 (51 of 101 steps), 2/3 beyond."""
    coco = make_coco([target(1, 10, BOX_A), target(2, 11, BOX_B)])
    entries = [found(10, BOX_A, 0.9), found(11, NOWHERE, 0.8), found(11, BOX_B, 0.7)]
    scores = score_coco(coco, entries, iou_type="bbox")
    expected = (51 * 1.0 + 50 * 2 / 3) / 101
    for name in ("AP", "AP50", "AP75", "APm"):
        assert scores.metrics[name] == pytest.approx(expected, rel=1e-12)
    assert scores.metrics["APs"] == -1
    assert scores.metrics["APl"] == -1
    assert scores.metrics["AR@1"] == 0.5
    assert scores.metrics["AR@10"] == 1
    assert scores.per_class == {
        "class 0": {"AP": scores.metrics["AP"], "AP50": scores.metrics["AP50"], "objects": 2}
    }


def test_thresholds_by_hand() -> None:
    """A box that covers 0.72 of its object is a hit at .5, .55, .6, .65 and .7 only."""
    coco = make_coco([target(1, 10, [0, 0, 100, 100])], images=1)
    scores = score_coco(coco, [found(10, [0, 0, 100, 72], 0.9)], iou_type="bbox")
    assert scores.metrics["AP"] == pytest.approx(0.5)
    assert scores.metrics["AP50"] == pytest.approx(1)
    assert scores.metrics["AP75"] == 0
    assert scores.metrics["AR@100"] == pytest.approx(0.5)


def test_masks_are_compared_by_their_pixels() -> None:
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[0:72, 0:100] = True
    coco = make_coco([target(1, 10, [0, 0, 100, 100])], images=1)
    entry = {"image_id": 10, "category_id": 5, "score": 0.9, "segmentation": encode_mask(mask)}
    scores = score_coco(coco, [entry], iou_type="segm")
    assert scores.metrics["AP"] == pytest.approx(0.5)
    assert scores.metrics["AP75"] == 0


def test_crowds_are_neither_missed_nor_false_alarms() -> None:
    annotations = [target(1, 10, BOX_A), target(2, 10, [80, 80, 110, 110], iscrowd=1)]
    entries = [found(10, BOX_A, 0.5), found(10, [90, 90, 30, 30], 0.9), found(10, BOX_B, 0.8)]
    scores = score_coco(make_coco(annotations, images=1), entries, iou_type="bbox")
    assert scores.metrics["AP"] == pytest.approx(1)
    assert scores.per_class["class 0"]["objects"] == 1


def test_annotation_id_0_counts() -> None:
    coco = make_coco([target(0, 10, BOX_A)], images=1)
    assert score_coco(coco, [found(10, BOX_A, 0.5)], iou_type="bbox").metrics[
        "AP"
    ] == pytest.approx(1)


def test_nothing_found_scores_0_and_nothing_to_find_is_unmeasured() -> None:
    coco = make_coco([target(1, 10, BOX_A)], classes=2)
    scores = score_coco(coco, [], iou_type="bbox")
    assert scores.metrics["AP"] == 0
    assert scores.metrics["AR@100"] == 0
    assert scores.per_class["class 1"] == {"AP": -1, "AP50": -1, "objects": 0}
    assert set(score_coco(make_coco([]), [], iou_type="segm").metrics.values()) == {-1}


def test_false_alarms_on_images_without_objects_count() -> None:
    coco = make_coco([target(1, 10, BOX_A)])
    entries = [found(10, BOX_A, 0.5), found(11, BOX_B, 0.9)]
    assert score_coco(coco, entries, iou_type="bbox").metrics["AP"] == pytest.approx(0.5)
    only_first = score_coco(coco, entries[:1], iou_type="bbox", image_ids=[10])
    assert only_first.metrics["AP"] == pytest.approx(1)


def test_images_that_were_not_searched_do_not_count() -> None:
    coco = make_coco([target(1, 10, BOX_A), target(2, 11, BOX_B)])
    scores = score_coco(coco, [found(11, BOX_B, 0.9)], iou_type="bbox", image_ids=[11])
    assert scores.metrics["AP"] == pytest.approx(1)
    assert scores.per_class["class 0"]["objects"] == 1


def test_annotations_may_lack_area_and_crowd() -> None:
    annotation = target(1, 10, BOX_A)
    del annotation["area"], annotation["iscrowd"]
    scores = score_coco(make_coco([annotation]), [found(10, BOX_A, 0.9)], iou_type="bbox")
    assert scores.metrics["APm"] == pytest.approx(1)


def test_the_ground_truth_is_left_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    coco = make_coco([target(1, 10, BOX_A)])
    before = copy.deepcopy(coco.dataset)
    entry = {"image_id": 10, "category_id": 5, "score": 0.9}
    entry["segmentation"] = encode_mask(coco.annToMask(coco.anns[1]))
    assert score_coco(coco, [entry], iou_type="segm").metrics["AP"] == pytest.approx(1)
    assert coco.dataset == before
    assert capsys.readouterr().out == ""


def test_classes_of_one_name_stay_apart() -> None:
    coco = make_coco([target(1, 10, BOX_A)], classes=2)
    for category in coco.dataset["categories"]:
        category["name"] = "same"
    assert list(score_coco(coco, [], iou_type="bbox").per_class) == ["same", "same (6)"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (found(99, BOX_A, 0.5), "result 0 is for image 99"),
        (found(10, BOX_A, 0.5, category_id=1), "result 0 has category 1"),
        (found(10, BOX_A, float("nan")), r"result 0 \(image 10\) has score nan"),
    ],
)
def test_results_of_something_else_are_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        score_coco(make_coco([]), [entry], iou_type="bbox")


def test_no_images_cannot_be_scored() -> None:
    with pytest.raises(DatasetError, match="no images"):
        score_coco(make_coco([], images=0), [], iou_type="bbox")


@pytest.mark.parametrize("segmentation", [None, []])
def test_masks_need_masks_to_compare_with(segmentation: list[Any] | None) -> None:
    """An empty list, which tools write for boxes, would count as an object that was not found."""
    annotation = {**target(7, 10, BOX_A), "segmentation": segmentation}
    with pytest.raises(DatasetError, match=r"annotation 7 \(image 10\) has no segmentation"):
        score_coco(make_coco([annotation]), [], iou_type="segm")


PUBLISHED = {
    "bbox": [0.505, 0.697, 0.573, 0.586, 0.519, 0.501, 0.387, 0.594, 0.595, 0.640, 0.566, 0.564],
    "segm": [0.320, 0.562, 0.299, 0.387, 0.310, 0.327, 0.268, 0.415, 0.417, 0.469, 0.377, 0.381],
}


@pytest.mark.shared_data
@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_the_published_numbers_come_out(shared: Path, iou_type: Any) -> None:
    folder = shared / "data" / "eval_ref"
    annotations = folder / "faster_coco_eval/tests/dataset/cocoapi/instances_val2014_100.json"
    results = folder / f"cocoapi/results/instances_val2014_fake{iou_type}100_results.json"
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(annotations))
    scores = score_coco(coco, json.loads(results.read_text()), iou_type=iou_type)
    assert [round(value, 3) for value in scores.metrics.values()] == PUBLISHED[iou_type]
