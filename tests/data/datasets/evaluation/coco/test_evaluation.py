import contextlib
import io
import json
import logging
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO

from maskrcnn_benchmark.data.datasets.evaluation import evaluate, evaluate_detections
from maskrcnn_benchmark.errors import ConfigError, DatasetError
from maskrcnn_benchmark.results.coco import detections_from_coco
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.masks import encode_mask
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.sizes import HeightWidth

SIZE = HeightWidth(100, 120)


class Dataset:
    """What the old notebooks' data sets offer, and no more."""

    def __init__(self, coco: COCO) -> None:
        self.coco = coco
        self.id_to_img_map = dict(enumerate(sorted(coco.imgs)))
        self.contiguous_category_id_to_json_id = {
            label: category["id"]
            for label, category in enumerate(coco.dataset["categories"], start=1)
        }

    def __len__(self) -> int:
        return len(self.id_to_img_map)

    def get_img_info(self, index: int) -> Any:
        return self.coco.imgs[self.id_to_img_map[index]]


BOXES = {20: [[10, 20, 40, 50], [60, 10, 30, 30]], 10: [[0, 0, 50, 50]], 30: []}


def make_dataset() -> Dataset:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": key, "width": SIZE.width, "height": SIZE.height} for key in BOXES],
        "categories": [{"id": 9, "name": "cat"}, {"id": 4, "name": "dog"}],
        "annotations": [],
    }
    for image_id, boxes in BOXES.items():
        for x, y, w, h in boxes:
            coco.dataset["annotations"].append(
                {
                    "id": len(coco.dataset["annotations"]),
                    "image_id": image_id,
                    "category_id": 4,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return Dataset(coco)


def perfect_detections(*, with_masks: bool = True) -> list[Detections]:
    detections = []
    for image_id in sorted(BOXES):
        masks = []
        for x, y, w, h in BOXES[image_id]:
            mask = np.zeros(SIZE, dtype=bool)
            mask[y : y + h, x : x + w] = True
            masks.append(encode_mask(mask))
        xywh = np.array(BOXES[image_id], dtype=np.float32).reshape(-1, 4)
        detections.append(
            Detections(
                image_size=SIZE,
                boxes=np.concatenate((xywh[:, :2], xywh[:, :2] + xywh[:, 2:] - 1), axis=1),
                scores=np.full(len(masks), 0.9),
                labels=np.full(len(masks), 2),
                class_names=("__background__", "cat", "dog"),
                masks=masks if with_masks else None,
                image_id=image_id,
            )
        )
    return detections


def test_perfect_detections_score_1(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, logger="maskrcnn_benchmark.inference"):
        results, raw = evaluate_detections(
            make_dataset(),
            perfect_detections(),
            output_folder=tmp_path,
            iou_types=("bbox", "segm"),
        )
    for task in ("bbox", "segm"):
        assert results.results[task]["AP"] == 1
        assert results.results[task]["AR@100"] == 1
        assert results.per_class[task]["dog"] == {"AP": 1, "AP50": 1, "objects": 3}
        assert results.per_class[task]["cat"]["AP"] == -1
        assert json.loads((tmp_path / f"{task}.json").read_text()) == raw[task]
    assert set(raw["bbox"][0]) == {"image_id", "category_id", "score", "bbox"}
    assert set(raw["segm"][0]) == {"image_id", "category_id", "score", "segmentation"}
    assert raw["bbox"][0]["bbox"] == [0, 0, 50, 50]
    assert {entry["category_id"] for entry in raw["segm"]} == {4}
    assert json.loads((tmp_path / "coco_results.json").read_text()) == results.to_dict()
    loaded = torch.load(tmp_path / "coco_results.pth", weights_only=True)
    assert loaded == results.to_dict()
    assert "Task: bbox\nAP, AP50" in caplog.text
    assert "dog" in caplog.text
    assert capsys.readouterr().out == ""


def test_nothing_found() -> None:
    nothing = [found[:0] for found in perfect_detections()]
    results, raw = evaluate_detections(make_dataset(), nothing, iou_types=("bbox", "segm"))
    assert results.results["segm"]["AP"] == 0
    assert raw == {"bbox": [], "segm": []}


def test_proposals_are_scored_by_recall(tmp_path: Path) -> None:
    results, raw = evaluate_detections(
        make_dataset(), perfect_detections(), output_folder=tmp_path, box_only=True
    )
    assert list(results.results) == ["box_proposal"]
    assert results.results["box_proposal"]["AR@100"] == 1
    assert raw == {}
    assert json.loads((tmp_path / "box_proposals.json").read_text()) == results.to_dict()
    assert torch.load(tmp_path / "box_proposals.pth", weights_only=True) == results.to_dict()


@pytest.mark.parametrize(("mean", "passed"), [(1.0, True), (0.5, False)])
def test_expected_results_are_checked(mean: float, passed: bool) -> None:
    results, _ = evaluate_detections(
        make_dataset(),
        perfect_detections(),
        expected_results=[["bbox", "AP", [mean, 0.01]]],
        expected_results_sigma_tol=2,
    )
    assert results.passed is passed


def test_wrong_expectations_are_found_before_the_work() -> None:
    with pytest.raises(ConfigError, match="'segm' > 'AP' is not measured"):
        evaluate_detections(
            make_dataset(), [], expected_results=[["segm", "AP", [0.3, 0.01]]], iou_types=("bbox",)
        )


def test_detections_of_something_else_are_refused() -> None:
    dataset, detections = make_dataset(), perfect_detections()
    with pytest.raises(DatasetError, match="each of the 3 images of the data set, got 2"):
        evaluate_detections(dataset, detections[:2])
    with pytest.raises(DatasetError, match=r"detections 0 are of image 30, but image 0 .* is 10"):
        evaluate_detections(dataset, detections[::-1])
    with pytest.raises(DatasetError, match="detections of image 10 have none"):
        evaluate_detections(dataset, perfect_detections(with_masks=False), iou_types=("segm",))
    with pytest.raises(DatasetError, match=r"cannot score keypoints: .* have none"):
        evaluate_detections(dataset, detections, iou_types=("keypoints",))
    dataset.contiguous_category_id_to_json_id = {1: 9}
    with pytest.raises(DatasetError, match="have label 2, but the data set has 1 categories"):
        evaluate_detections(dataset, detections)
    with pytest.raises(DatasetError, match="cannot score panoptic"):
        evaluate_detections(dataset, detections, iou_types=("bbox", "panoptic"))


def network_outputs(*, scale: float) -> list[BoxList]:
    """Perfect boxes in pixels of an input that is `scale` times as large, and masks that fill them."""
    predictions = []
    for image_id in sorted(BOXES):
        xywh = torch.tensor(BOXES[image_id], dtype=torch.float32).reshape(-1, 4)
        boxlist = BoxList(xywh, (SIZE.width, SIZE.height), mode="xywh").convert("xyxy")
        boxlist = boxlist.resize((round(SIZE.width * scale), round(SIZE.height * scale)))
        boxlist.add_field("scores", torch.full((len(xywh),), 0.9))
        boxlist.add_field("labels", torch.full((len(xywh),), 2))
        boxlist.add_field("mask", torch.ones(len(xywh), 1, 28, 28))
        predictions.append(boxlist)
    return predictions


def test_network_outputs_are_scored_in_original_pixels(tmp_path: Path) -> None:
    results, raw = evaluate(
        dataset=make_dataset(),
        predictions=network_outputs(scale=2.5),
        output_folder=str(tmp_path),
        box_only=False,
        iou_types=("bbox", "segm"),
        expected_results=[],
        expected_results_sigma_tol=4,
    )
    assert results.results["bbox"]["AP"] == 1
    assert results.results["segm"]["AP"] > 0.8
    np.testing.assert_allclose(raw["bbox"][1]["bbox"], [10, 20, 40, 50], atol=1e-4)


def test_network_proposals_have_objectness() -> None:
    predictions = network_outputs(scale=1)
    for boxlist in predictions:
        boxlist.extra_fields = {"objectness": boxlist.get_field("scores")}
    results, _ = evaluate(make_dataset(), predictions, None, box_only=True)
    assert results.results["box_proposal"]["AR@100"] == 1


def test_other_data_sets_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"cannot score list: .* COCO annotations"):
        evaluate([], [], None)
    with pytest.raises(DatasetError, match="each of the 3 images of the data set, got 0"):
        evaluate(make_dataset(), [], None)


PUBLISHED = {
    "bbox": [0.505, 0.697, 0.573, 0.586, 0.519, 0.501, 0.387, 0.594, 0.595, 0.640, 0.566, 0.564],
    "segm": [0.320, 0.562, 0.299, 0.387, 0.310, 0.327, 0.268, 0.415, 0.417, 0.469, 0.377, 0.381],
}


@pytest.mark.shared_data
@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_the_published_numbers_come_out_of_detections(shared: Path, task: str) -> None:
    folder = shared / "data" / "eval_ref"
    annotations = folder / "faster_coco_eval/tests/dataset/cocoapi/instances_val2014_100.json"
    results_file = folder / f"cocoapi/results/instances_val2014_fake{task}100_results.json"
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = Dataset(COCO(str(annotations)))
    of_image: dict[int, list[Any]] = defaultdict(list)
    for entry in json.loads(results_file.read_text()):
        of_image[entry["image_id"]].append(entry)
    names = ["__background__", *(c["name"] for c in dataset.coco.dataset["categories"])]
    labels = {value: key for key, value in dataset.contiguous_category_id_to_json_id.items()}
    detections = []
    for index, image_id in dataset.id_to_img_map.items():
        info = dataset.get_img_info(index)
        detections.append(
            detections_from_coco(
                of_image[image_id],
                image_size=HeightWidth(info["height"], info["width"]),
                class_names=names,
                labels_of_categories=labels,
                image_id=image_id,
            )
        )
    results, _ = evaluate_detections(dataset, detections, iou_types=(task,))
    assert [round(value, 3) for value in results.results[task].values()] == PUBLISHED[task]
