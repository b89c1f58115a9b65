"""`evaluate_detections` together with the data set class that the package offers."""

from pathlib import Path
from typing import Any

import pytest
import torch

from maskrcnn_benchmark.data.datasets.abstract import AbstractDataset
from maskrcnn_benchmark.data.datasets.coco import COCODataset
from maskrcnn_benchmark.data.datasets.evaluation import (
    check_expectations,
    detections_of_dataset,
    evaluate_detections,
)
from maskrcnn_benchmark.data.datasets.voc import PascalVOCDataset
from maskrcnn_benchmark.data.toy import write_toy_dataset
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.structures.bounding_box import BoxList


@pytest.mark.shared_data
def test_the_targets_of_real_images_score_1_against_themselves(shared: Path) -> None:
    folder = shared / "data" / "coco_mini"
    dataset = COCODataset(
        folder / "annotations" / "instances_val2017.json", folder / "val2017", False, check="fast"
    )
    detections = []
    for index in range(len(dataset)):
        _, targets, _ = dataset[index]
        detections.append(
            Detections.from_targets(
                targets, class_names=dataset.class_names, image_id=dataset.id_to_img_map[index]
            )
        )
    results, raw = evaluate_detections(dataset, detections, iou_types=("bbox", "segm"))
    assert results.results["bbox"]["AP"] == pytest.approx(1, abs=1e-3)
    assert results.results["segm"]["AP"] == pytest.approx(1, abs=1e-3)
    assert len(raw["bbox"]) == sum(map(len, detections)) > 500
    # Scoring has not touched the annotations.
    _, again, _ = dataset[0]
    assert len(again) == len(detections[0])


def test_labels_that_the_data_does_not_have_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    toy = write_toy_dataset(tmp_path, num_train=1, num_val=2)
    dataset = COCODataset(toy.val.json_path, toy.val.image_folder, False)
    predictions = []
    for index in range(2):
        width, height = dataset[index][1].size
        boxes = BoxList([[1, 1, 20, 20], [2, 2, 30, 30]], (width, height))
        boxes.add_field("scores", torch.tensor([0.9, 0.8]))
        boxes.add_field("labels", torch.tensor([1, 80]))
        predictions.append(boxes)
    found = detections_of_dataset(dataset, predictions)
    assert [detections.labels.tolist() for detections in found] == [[1], [1]]
    assert "2 detections have a label beyond the 5 categories" in caplog.text


class _WithCoco:
    coco = None


class _Own(AbstractDataset):
    pass


@pytest.mark.parametrize(
    ("dataset", "settings", "row", "measured"),
    [
        (_WithCoco(), {"iou_types": ("bbox", "segm")}, ("segm", "AR@100", (0.5, 0.1)), True),
        (_WithCoco(), {"iou_types": ("bbox",)}, ("segm", "AP", (0.5, 0.1)), False),
        (_WithCoco(), {"box_only": True}, ("box_proposal", "AR@1000", (0.5, 0.1)), True),
        (_WithCoco(), {"box_only": True}, ("bbox", "AP", (0.5, 0.1)), False),
        (PascalVOCDataset.__new__(PascalVOCDataset), {}, ("bbox", "AP50", (0.5, 0.1)), True),
        (PascalVOCDataset.__new__(PascalVOCDataset), {}, ("bbox", "AP", (0.5, 0.1)), False),
        (_Own(), {"iou_types": ("segm",)}, ("segm", "AP75", (0.5, 0.1)), True),
        (_Own(), {"iou_types": ("segm",)}, ("segm", "APs", (0.5, 0.1)), False),
    ],
)
def test_expectations_are_checked_against_what_the_data_set_measures(
    dataset: Any, settings: dict[str, Any], row: tuple[Any, ...], measured: bool
) -> None:
    if measured:
        check_expectations(dataset, [row], **settings)
        return
    with pytest.raises(ConfigError, match="is not measured here"):
        check_expectations(dataset, [row], **settings)
