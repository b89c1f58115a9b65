"""`evaluate_detections` together with the data set class that the package offers."""

from pathlib import Path

import pytest
import torch

from maskrcnn_benchmark.data.datasets.coco import COCODataset
from maskrcnn_benchmark.data.datasets.evaluation import detections_of_dataset, evaluate_detections
from maskrcnn_benchmark.data.toy import write_toy_dataset
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
