"""`evaluate_detections` together with the data set class that the package offers."""

from pathlib import Path

import pytest

from maskrcnn_benchmark.data.datasets.coco import COCODataset
from maskrcnn_benchmark.data.datasets.evaluation import evaluate_detections
from maskrcnn_benchmark.results.detections import Detections


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
