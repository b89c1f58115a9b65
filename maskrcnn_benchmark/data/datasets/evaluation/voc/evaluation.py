"""Evaluation of a data set in VOC's terms: from Detections to numbers, log lines and a file."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from maskrcnn_benchmark.data.datasets.evaluation.expected_results import (
    check_expected_results,
    parse_expected_results,
)
from maskrcnn_benchmark.data.datasets.evaluation.voc.results import VOCResults
from maskrcnn_benchmark.data.datasets.evaluation.voc.scoring import VOCTargets, score_voc
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.atomic import atomic_write

logger = logging.getLogger("maskrcnn_benchmark.inference")

RESULT_FILE = "result.txt"


class VOCStyleDataset(Protocol):
    """What a data set must offer to be scored.

    Attributes:
        class_names: name of each label, the background's first.
    """

    class_names: tuple[str, ...]

    def __len__(self) -> int: ...

    def get_groundtruth(self, index: int) -> BoxList:
        """Boxes in pixels of the original image, with the fields `labels` and `difficult`."""
        ...


def evaluate_voc(
    dataset: VOCStyleDataset,
    detections: Sequence[Detections],
    *,
    output_folder: str | os.PathLike[str] | None = None,
    iou_types: Sequence[str] = ("bbox",),
    expected_results: Sequence[Any] = (),
    expected_results_sigma_tol: float = 4,
    iou_threshold: float = 0.5,
    eleven_points: bool = True,
) -> VOCResults:
    """Score what was found in every image of a data set. Difficult objects neither count nor harm.

    Args:
        dataset: see `VOCStyleDataset`; it must keep difficult objects.
        detections: one for each image, in the order of the data set, in pixels of the original images.
        output_folder: where `result.txt` goes; None writes nothing.
        iou_types: anything besides "bbox" is left out with a warning: VOC's annotations are boxes.
        expected_results: see `parse_expected_results`; the metric is AP50 of bbox.
        expected_results_sigma_tol: see `check_expected_results`.
        iou_threshold: see `score_voc`.
        eleven_points: see `score_voc`.

    Raises:
        DatasetError: if the detections do not belong to this data set.
        ConfigError: for expectations of what is not measured.
    """
    expectations = parse_expected_results(expected_results, known=VOCResults.METRICS)
    if unscored := [task for task in iou_types if task != "bbox"]:
        logger.warning(
            "Pascal VOC's annotations are boxes: %s cannot be scored on %s",
            " and ".join(unscored),
            type(dataset).__name__,
        )
    if len(detections) != len(dataset):
        raise DatasetError(
            f"expected detections for each of the {len(dataset)} images of the data set, "
            f"got {len(detections)}"
        )
    precisions = score_voc(
        ((found, _targets(dataset, index)) for index, found in enumerate(detections)),
        num_classes=len(dataset.class_names),
        iou_threshold=iou_threshold,
        eleven_points=eleven_points,
    )
    results = VOCResults(precisions, dataset.class_names)
    logger.info("\n%s", results)
    if output_folder:
        with atomic_write(Path(output_folder) / RESULT_FILE) as file:
            file.write(str(results))
    if expectations:
        results.passed = check_expected_results(
            results.results, expectations, sigma_tol=expected_results_sigma_tol
        )
    return results


def _targets(dataset: VOCStyleDataset, index: int) -> VOCTargets:
    target = dataset.get_groundtruth(index).convert("xyxy")
    return VOCTargets(
        boxes=target.bbox.numpy(),
        labels=target.get_field("labels").numpy(),
        difficult=target.get_field("difficult").bool().numpy(),
    )
