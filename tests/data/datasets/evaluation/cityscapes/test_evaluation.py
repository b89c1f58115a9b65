"""From the network's boxes and masks to numbers and files, on folders drawn here."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from maskrcnn_benchmark.data.datasets import AbstractDataset, CityScapesDataset
from maskrcnn_benchmark.data.datasets.evaluation import (
    CityscapesResults,
    evaluate,
    results_of,
)
from maskrcnn_benchmark.errors import ConfigError, DatasetError
from maskrcnn_benchmark.structures.bounding_box import BoxList
from tests.data.datasets.cityscapes_folder import write_cityscapes


@pytest.fixture
def dataset(tmp_path: Path) -> CityScapesDataset:
    root = write_cityscapes(tmp_path / "cityscapes")
    return CityScapesDataset(root / "leftImg8bit", root / "gtFine", "train", replace_empty=False)


def perfect(dataset: Any, scale: int = 2, masks: bool = True) -> list[BoxList]:
    """The objects themselves, as a network that saw the images enlarged would return them."""
    predictions = []
    for index in range(len(dataset)):
        target = dataset.get_groundtruth(index)
        boxes = target.copy_with_fields("labels").resize([side * scale for side in target.size])
        boxes.add_field("scores", torch.full((len(boxes),), 0.9))
        if masks:
            pasted = target.get_field("masks").resize(boxes.size).as_masks()
            boxes.add_field("mask", pasted[:, None].bool())
        predictions.append(boxes)
    return predictions


def test_perfect_detections(
    dataset: CityScapesDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        outcome = evaluate(dataset, perfect(dataset), tmp_path, iou_types=("bbox", "segm"))
    assert isinstance(outcome, CityscapesResults)
    assert results_of(outcome) is outcome
    for task in ("bbox", "segm"):
        assert outcome.results[task] == pytest.approx({"AP": 1, "AP50": 1, "AP75": 1})
        assert outcome.per_class[task]["bus"]["AP"] == -1
    table = caplog.messages[-1].splitlines()
    assert table[1:3] == ["Task: bbox", "what                  AP  AP_50%  AP_75%"]
    assert "average            1.000   1.000   1.000" in table
    assert "bus                    -       -       -" in table

    folder = tmp_path / "evaluationResults"
    assert sorted(path.name for path in folder.iterdir()) == [
        "boxResult.json",
        "maskResult.json",
        "matches.json",
    ]
    content = json.loads((folder / "maskResult.json").read_text(), parse_constant=pytest.fail)
    assert set(content) == {
        "averages",
        "overlaps",
        "minRegionSizes",
        "instLabels",
        "resultApMatrix",
    }
    assert content["averages"]["allAp50%"] == pytest.approx(1)
    assert content["averages"]["classes"]["bus"]["ap"] is None
    assert len(content["resultApMatrix"]) == 11
    assert content["resultApMatrix"][0] == [None] * 10
    matches = json.loads((folder / "matches.json").read_text())
    assert [len(image["intersections"]) for image in matches["segm"]] == [2, 0, 1]


def test_what_is_found_in_an_empty_image_counts(dataset: CityScapesDataset) -> None:
    found = perfect(dataset, masks=False)
    found[1] = found[0].copy_with_fields("labels")
    found[1].add_field("scores", torch.tensor([0.95, 0.95]))
    outcome = evaluate(dataset, found, None)
    assert isinstance(outcome, CityscapesResults)
    assert outcome.per_class["bbox"]["car"]["AP50"] == pytest.approx(0.25)
    assert outcome.per_class["bbox"]["bicycle"]["AP50"] == pytest.approx(1)


def test_expected_results(dataset: CityScapesDataset) -> None:
    found = perfect(dataset, masks=False)
    rows = [["bbox", "AP75", [1.0, 0.01]]]
    assert results_of(evaluate(dataset, found, None, expected_results=rows)).passed is True
    rows = [["bbox", "AP75", [0.5, 0.01]]]
    assert results_of(evaluate(dataset, found, None, expected_results=rows)).passed is False
    with pytest.raises(ConfigError, match="'segm' > 'AP' is not measured here"):
        evaluate(dataset, found, None, expected_results=[["segm", "AP", [1.0, 0.01]]])


def test_what_cannot_be_scored(dataset: CityScapesDataset) -> None:
    found = perfect(dataset, masks=False)
    with pytest.raises(DatasetError, match="the detections of image 0 have none"):
        evaluate(dataset, found, None, iou_types=("bbox", "segm"))
    with pytest.raises(DatasetError, match="cannot score keypoints on CityScapesDataset"):
        evaluate(dataset, found, None, iou_types=("keypoints",))
    with pytest.raises(DatasetError, match="each of the 3 images"):
        evaluate(dataset, found[:1], None)
    with pytest.raises(DatasetError, match="cannot score proposals on CityScapesDataset"):
        evaluate(dataset, found, None, box_only=True)


class Own(AbstractDataset):
    """A data set as the old documentation teaches it, with samples of another size than its images."""

    CLASSES = ("__background__", "thing")

    def __init__(self) -> None:
        super().__init__()
        self.initMaps()

    def __len__(self) -> int:
        return 2

    def get_img_info(self, index: int) -> dict[str, Any]:
        return {"height": 40, "width": 60}

    def __getitem__(self, index: int) -> Any:
        target = BoxList([[20, 20, 80, 60]], (120, 80))
        target.add_field("labels", torch.tensor([1]))
        return None, target, index


def test_a_data_set_of_ones_own() -> None:
    found = []
    for box in ([10.0, 10.0, 40.0, 30.0], [30.0, 30.0, 59.0, 39.0]):
        boxes = BoxList([box], (60, 40))
        boxes.add_field("labels", torch.tensor([1]))
        boxes.add_field("scores", torch.tensor([0.5]))
        found.append(boxes)
    outcome = evaluate(Own(), found, None)
    assert isinstance(outcome, CityscapesResults)
    # One of two found, one of two right, at one score: (1/2, 1/2), (0, 1).
    assert outcome.results["bbox"]["AP50"] == pytest.approx(0.5 * 0.25 + 1 * 0.25)
    for boxes in found:
        boxes.add_field("mask", torch.ones(1, 1, 4, 4))
    with pytest.raises(DatasetError, match="the target of image 0 has no field 'masks'"):
        evaluate(Own(), found, None, iou_types=("segm",))
