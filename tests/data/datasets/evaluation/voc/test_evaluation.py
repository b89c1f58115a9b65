"""From the network's boxes to `result.txt`, on a folder drawn here."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from maskrcnn_benchmark.data.datasets import PascalVOCDataset
from maskrcnn_benchmark.data.datasets.evaluation import evaluate
from maskrcnn_benchmark.data.datasets.evaluation.voc import VOCResults
from maskrcnn_benchmark.errors import ConfigError, DatasetError
from maskrcnn_benchmark.structures.bounding_box import BoxList
from tests.data.datasets.voc_folder import write_voc


@pytest.fixture
def dataset(tmp_path: Path) -> PascalVOCDataset:
    return PascalVOCDataset(write_voc(tmp_path / "voc"), "train", use_difficult=True)


def perfect(dataset: Any, scale: float = 2.0) -> list[BoxList]:
    """The objects themselves, in pixels of a network that saw the images enlarged."""
    predictions = []
    for index in range(len(dataset)):
        target = dataset.get_groundtruth(index)
        boxes = target.copy_with_fields("labels").resize(
            [int(side * scale) for side in target.size]
        )
        boxes.add_field("scores", torch.full((len(boxes),), 0.9))
        predictions.append(boxes)
    return predictions


def test_perfect_boxes(
    dataset: PascalVOCDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        results = evaluate(dataset, perfect(dataset), tmp_path)
    assert isinstance(results, VOCResults)
    assert results["map"] == pytest.approx(1)
    assert results["ap"].shape == (21,)
    text = (tmp_path / "result.txt").read_text()
    assert text.startswith("mAP: 1.0000\naeroplane       : nan\n")
    assert "cat             : 1.0000" in text
    assert "person          : nan" in text, "the only person is difficult"
    assert text.strip() in caplog.text


def test_masks_are_left_out_with_a_word(
    dataset: PascalVOCDataset, caplog: pytest.LogCaptureFixture
) -> None:
    evaluate(dataset, perfect(dataset), None, iou_types=("bbox", "segm"))
    assert "segm cannot be scored" in caplog.text


def test_expected_results(dataset: PascalVOCDataset) -> None:
    found = perfect(dataset)
    rows = [["bbox", "AP50", [1.0, 0.01]]]
    results = evaluate(dataset, found, None, expected_results=rows)
    assert isinstance(results, VOCResults)
    assert results.passed is True
    rows = [["bbox", "AP50", [0.5, 0.01]]]
    results = evaluate(dataset, found, None, expected_results=rows)
    assert isinstance(results, VOCResults)
    assert results.passed is False
    with pytest.raises(ConfigError, match="'bbox' > 'AP' is not measured here"):
        evaluate(dataset, found, None, expected_results=[["bbox", "AP", [1.0, 0.01]]])


def test_what_cannot_be_scored(dataset: PascalVOCDataset) -> None:
    with pytest.raises(DatasetError, match="each of the 3 images"):
        evaluate(dataset, perfect(dataset)[:2], None)
    with pytest.raises(DatasetError, match="cannot score proposals on PascalVOCDataset"):
        evaluate(dataset, perfect(dataset), None, box_only=True)
