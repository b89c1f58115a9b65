"""Scoring predictions: `evaluate` for what a network returns, `evaluate_detections` for anything else."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

from maskrcnn_benchmark.data.datasets.evaluation.coco import (
    COCOResults,
    evaluate_detections,
    score_coco,
)
from maskrcnn_benchmark.data.datasets.evaluation.coco.evaluation import RawResults
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.sizes import HeightWidth
from maskrcnn_benchmark.utils.progress import track

logger = logging.getLogger(__name__)

__all__ = [
    "COCOResults",
    "detections_of_dataset",
    "evaluate",
    "evaluate_detections",
    "score_coco",
]


def evaluate(
    dataset: Any,
    predictions: Sequence[BoxList],
    output_folder: str | os.PathLike[str] | None,
    *,
    box_only: bool = False,
    iou_types: Sequence[str] = ("bbox",),
    expected_results: Sequence[Any] = (),
    expected_results_sigma_tol: float = 4,
) -> tuple[COCOResults, RawResults]:
    """Score what a network returned for every image of a data set.

    Args:
        dataset: one with a `coco` attribute.
        predictions: one BoxList for each image, in the order of the data set, in pixels of the network's input.
        output_folder: see `evaluate_detections`.
        box_only: see `evaluate_detections`.
        iou_types: see `evaluate_detections`.
        expected_results: see `evaluate_detections`.
        expected_results_sigma_tol: see `evaluate_detections`.

    Raises:
        DatasetError: if this kind of data set cannot be scored, or the predictions are not of this data set.
    """
    if not hasattr(dataset, "coco"):
        raise DatasetError(
            f"cannot score {type(dataset).__name__}: expected a data set with COCO annotations "
            "(attribute `coco`)"
        )
    return evaluate_detections(
        dataset,
        detections_of_dataset(dataset, predictions, with_masks="segm" in iou_types),
        output_folder=output_folder,
        box_only=box_only,
        iou_types=iou_types,
        expected_results=expected_results,
        expected_results_sigma_tol=expected_results_sigma_tol,
    )


def detections_of_dataset(
    dataset: Any, predictions: Sequence[BoxList], *, with_masks: bool = True
) -> list[Detections]:
    """What a network returned for a data set, in pixels of the original images.

    Args:
        dataset: see `coco.evaluation.COCOStyleDataset`.
        predictions: one BoxList for each image, in the order of the data set.
        with_masks: paste the masks too, where there are any.

    Raises:
        DatasetError: if there are more or fewer predictions than images.
    """
    if len(predictions) != len(dataset):
        raise DatasetError(
            f"expected predictions for each of the {len(dataset)} images of the data set, "
            f"got {len(predictions)}"
        )
    class_names = _class_names(dataset)
    detections, unknown = [], 0
    for index, prediction in enumerate(track(predictions, "collecting results")):
        info = dataset.get_img_info(index)
        if prediction.has_field("labels"):
            is_known = prediction.get_field("labels") < len(class_names)
            unknown += int((~is_known).sum())
            prediction = prediction[is_known]
        wanted = ["scores", "labels", "objectness", *(["mask"] if with_masks else [])]
        detections.append(
            Detections.from_boxlist(
                prediction.copy_with_fields(wanted, skip_missing=True),
                image_size=HeightWidth(info["height"], info["width"]),
                class_names=class_names,
                image_id=dataset.id_to_img_map[index],
            )
        )
    if unknown:
        logger.warning(
            "%d detections have a label beyond the %d categories of the data set and were left out: "
            "the model has more classes than the data (MODEL.ROI_BOX_HEAD.NUM_CLASSES %d would do)",
            unknown,
            len(class_names) - 1,
            len(class_names),
        )
    return detections


def _class_names(dataset: Any) -> tuple[str, ...]:
    """Names by label; data sets written for the old project have them only among their categories."""
    if hasattr(dataset, "class_names"):
        return tuple(dataset.class_names)
    ids = dataset.contiguous_category_id_to_json_id
    names = {category["id"]: category["name"] for category in dataset.coco.dataset["categories"]}
    return ("__background__", *(names[ids[label]] for label in range(1, max(ids, default=0) + 1)))
