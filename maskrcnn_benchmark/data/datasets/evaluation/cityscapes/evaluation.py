"""Evaluation of a data set in Cityscapes' terms: from Detections to numbers, a table and files."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn_benchmark.data.datasets.evaluation.cityscapes.matching import (
    ImageMatches,
    match_boxes,
    match_masks,
)
from maskrcnn_benchmark.data.datasets.evaluation.cityscapes.results import CityscapesResults
from maskrcnn_benchmark.data.datasets.evaluation.cityscapes.scoring import score_cityscapes
from maskrcnn_benchmark.data.datasets.evaluation.expected_results import (
    check_expected_results,
    parse_expected_results,
)
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.writers import write_json
from maskrcnn_benchmark.structures.bounding_box import BoxList

logger = logging.getLogger("maskrcnn_benchmark.inference")

RESULT_FOLDER = "evaluationResults"
_RESULT_FILES = {"bbox": "boxResult.json", "segm": "maskResult.json"}
_MATCHERS = {"bbox": match_boxes, "segm": match_masks}


def evaluate_cityscapes(
    dataset: Any,
    detections: Sequence[Detections],
    *,
    output_folder: str | os.PathLike[str] | None = None,
    iou_types: Sequence[str] = ("bbox", "segm"),
    expected_results: Sequence[Any] = (),
    expected_results_sigma_tol: float = 4,
    match_labels: bool = False,
) -> CityscapesResults:
    """Score what was found in every image of a data set.

    Args:
        dataset: an `AbstractDataset`. Targets are taken from `get_groundtruth(index)`, in pixels of the original image,
            where it has that, otherwise from its samples, resized to the size of `get_img_info(index)`.
        detections: one for each image, in the order of the data set, in pixels of the original images.
        output_folder: where `evaluationResults/` goes: matches.json, boxResult.json, maskResult.json. None writes
            nothing.
        iou_types: "bbox", "segm" or both.
        expected_results: see `parse_expected_results`; the metrics are AP, AP50 and AP75.
        expected_results_sigma_tol: see `check_expected_results`.
        match_labels: see `score_cityscapes`: off gives the old project's numbers, in which a prediction of any class
            can be the hit of an object.

    Raises:
        DatasetError: if the detections do not belong to this data set, or there are no masks to score.
        ConfigError: for expectations of what is not measured.
    """
    _check(dataset, detections, iou_types)
    known = {task: CityscapesResults.METRICS for task in iou_types}
    expectations = parse_expected_results(expected_results, known=known)
    matches: dict[str, list[ImageMatches]] = {task: [] for task in iou_types}
    for index, found in enumerate(detections):
        targets = _targets(dataset, index)
        for task, of_task in matches.items():
            _check_masks(targets, found, task, index)
            of_task.append(_MATCHERS[task](targets, found))
    precisions = {
        task: score_cityscapes(
            of_task, num_classes=len(dataset.class_names), match_labels=match_labels
        )
        for task, of_task in matches.items()
    }
    results = CityscapesResults(precisions, dataset.class_names)
    logger.info("%s", results)
    if output_folder:
        _write(results, matches, Path(output_folder) / RESULT_FOLDER)
    if expectations:
        results.passed = check_expected_results(
            results.results, expectations, sigma_tol=expected_results_sigma_tol
        )
    return results


def _check(dataset: Any, detections: Sequence[Detections], iou_types: Sequence[str]) -> None:
    if unknown := [task for task in iou_types if task not in _MATCHERS]:
        raise DatasetError(
            f"cannot score {', '.join(unknown)} on {type(dataset).__name__}: expected iou_types out of "
            "'bbox' and 'segm'"
        )
    if len(detections) != len(dataset):
        raise DatasetError(
            f"expected detections for each of the {len(dataset)} images of the data set, "
            f"got {len(detections)}"
        )


def _targets(dataset: Any, index: int) -> BoxList:
    if hasattr(dataset, "get_groundtruth"):
        targets: BoxList = dataset.get_groundtruth(index)
        return targets
    _, sample, _ = dataset[index]
    info = dataset.get_img_info(index)
    size = (info["width"], info["height"])
    target: BoxList = sample
    return target if tuple(target.size) == size else target.resize(size)


def _check_masks(targets: BoxList, found: Detections, task: str, index: int) -> None:
    if task != "segm":
        return
    if found.masks is None and len(found):
        raise DatasetError(
            f"cannot score masks: the detections of image {index} have none; ask for iou_types "
            "('bbox',) or predict with a model that has a mask head"
        )
    if not targets.has_field("masks"):
        raise DatasetError(
            f"cannot score masks: the target of image {index} has no field 'masks'; ask for iou_types "
            "('bbox',) or add the field in the data set"
        )


def _write(
    results: CityscapesResults, matches: dict[str, list[ImageMatches]], folder: Path
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for task in matches:
        write_json(folder / _RESULT_FILES[task], results.to_file(task))
    write_json(
        folder / "matches.json",
        {task: [_plain(image) for image in of_task] for task, of_task in matches.items()},
    )


def _plain(image: ImageMatches) -> dict[str, Any]:
    """Objects, predictions, and (object, prediction, common pixels) of each pair that overlaps."""
    pairs = [
        [*map(int, pair), int(image.intersections[tuple(pair)])]
        for pair in np.argwhere(image.intersections > 0)
    ]
    return {
        "targets": {
            "labels": image.target_labels.tolist(),
            "areas": image.target_areas.tolist(),
        },
        "predictions": {
            "labels": image.labels.tolist(),
            "scores": image.scores.tolist(),
            "areas": image.areas.tolist(),
        },
        "intersections": pairs,
    }
