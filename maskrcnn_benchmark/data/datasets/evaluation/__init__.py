"""Scoring predictions: `evaluate` for what a network returns, the others for Detections from anywhere.

evaluate_detections     COCO annotations: average precision of boxes, masks and keypoints, recall of proposals
evaluate_voc            Pascal VOC: average precision of boxes at IoU .5
evaluate_cityscapes     Cityscapes, and any other AbstractDataset: average precision of boxes and masks
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

from maskrcnn_benchmark.data.datasets.abstract import AbstractDataset
from maskrcnn_benchmark.data.datasets.evaluation.cityscapes import (
    CityscapesResults,
    evaluate_cityscapes,
)
from maskrcnn_benchmark.data.datasets.evaluation.coco import (
    COCOResults,
    evaluate_detections,
    score_coco,
)
from maskrcnn_benchmark.data.datasets.evaluation.coco.evaluation import RawResults
from maskrcnn_benchmark.data.datasets.evaluation.expected_results import parse_expected_results
from maskrcnn_benchmark.data.datasets.evaluation.voc import VOCResults, evaluate_voc
from maskrcnn_benchmark.data.datasets.voc import PascalVOCDataset
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.numerics import DETECTRON, Numerics
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.sizes import HeightWidth
from maskrcnn_benchmark.utils.progress import track

logger = logging.getLogger(__name__)

__all__ = [
    "COCOResults",
    "CityscapesResults",
    "VOCResults",
    "check_expectations",
    "detections_of_dataset",
    "evaluate",
    "evaluate_cityscapes",
    "evaluate_detections",
    "evaluate_voc",
    "results_of",
    "score_coco",
]

Results = COCOResults | VOCResults | CityscapesResults


def evaluate(
    dataset: Any,
    predictions: Sequence[BoxList],
    output_folder: str | os.PathLike[str] | None,
    *,
    box_only: bool = False,
    iou_types: Sequence[str] = ("bbox",),
    expected_results: Sequence[Any] = (),
    expected_results_sigma_tol: float = 4,
    numerics: Numerics = DETECTRON,
) -> tuple[COCOResults, RawResults] | VOCResults | CityscapesResults:
    """Score what a network returned for every image of a data set.

    Args:
        dataset: one with COCO annotations (attribute `coco`), a PascalVOCDataset, or any other AbstractDataset, which
            is scored as Cityscapes is.
        predictions: one BoxList for each image, in the order of the data set, in pixels of the network's input.
        output_folder: see `evaluate_detections`.
        box_only: see `evaluate_detections`.
        iou_types: see `evaluate_detections`.
        expected_results: see `evaluate_detections`.
        expected_results_sigma_tol: see `evaluate_detections`.
        numerics: conventions of the network: what its boxes are, and how its masks are pasted.

    Returns:
        (COCOResults, raw results), VOCResults or CityscapesResults; see `results_of`.

    Raises:
        DatasetError: if this kind of data set cannot be scored, or the predictions are not of this data set.
    """
    has_coco = hasattr(dataset, "coco")
    if not (has_coco or isinstance(dataset, PascalVOCDataset | AbstractDataset)):
        raise DatasetError(
            f"cannot score {type(dataset).__name__}: expected a data set with COCO annotations "
            "(attribute `coco`), a PascalVOCDataset or an AbstractDataset"
        )
    if box_only and not has_coco:
        raise DatasetError(
            f"cannot score proposals on {type(dataset).__name__}: their recall is measured with COCO "
            "annotations (attribute `coco`) only"
        )
    detections = detections_of_dataset(
        dataset, predictions, with_masks="segm" in iou_types, numerics=numerics
    )
    settings: dict[str, Any] = {
        "output_folder": output_folder,
        "iou_types": iou_types,
        "expected_results": expected_results,
        "expected_results_sigma_tol": expected_results_sigma_tol,
    }
    if has_coco:
        return evaluate_detections(dataset, detections, box_only=box_only, **settings)
    if isinstance(dataset, PascalVOCDataset):
        return evaluate_voc(dataset, detections, **settings)
    return evaluate_cityscapes(dataset, detections, **settings)


def check_expectations(
    dataset: Any,
    expected_results: Sequence[Any],
    *,
    box_only: bool = False,
    iou_types: Sequence[str] = ("bbox",),
) -> None:
    """Find rows that `evaluate` could not compare, before there is anything to evaluate.

    Args:
        dataset: see `evaluate`.
        expected_results: see `evaluate`.
        box_only: see `evaluate`.
        iou_types: see `evaluate`.

    Raises:
        ConfigError: for a row of another form, or a task or metric that will not be measured.
    """
    known: dict[str, Sequence[str]]
    if hasattr(dataset, "coco"):
        tasks = ("box_proposal",) if box_only else tuple(iou_types)
        known = {task: COCOResults.metric_names(task) for task in tasks}
    elif isinstance(dataset, PascalVOCDataset):
        known = dict(VOCResults.METRICS)
    else:
        known = dict.fromkeys(iou_types, CityscapesResults.METRICS)
    parse_expected_results(expected_results, known=known)


def results_of(outcome: Any) -> Any:
    """The numbers among what `evaluate` returned: something with `results` (task -> metric -> value) and `passed`."""
    return outcome[0] if isinstance(outcome, tuple) else outcome


def detections_of_dataset(
    dataset: Any,
    predictions: Sequence[BoxList],
    *,
    with_masks: bool = True,
    numerics: Numerics = DETECTRON,
) -> list[Detections]:
    """What a network returned for a data set, in pixels of the original images.

    Args:
        dataset: see `coco.evaluation.COCOStyleDataset`.
        predictions: one BoxList for each image, in the order of the data set.
        with_masks: paste the masks too, where there are any.
        numerics: see `evaluate`.

    Raises:
        DatasetError: if there are more or fewer predictions than images.
    """
    if len(predictions) != len(dataset):
        raise DatasetError(
            f"expected predictions for each of the {len(dataset)} images of the data set, "
            f"got {len(predictions)}"
        )
    class_names = _class_names(dataset)
    # An AbstractDataset need not name its images.
    image_ids = getattr(dataset, "id_to_img_map", range(len(dataset)))
    detections, unknown = [], 0
    for index, prediction in enumerate(track(predictions, "collecting results")):
        info = dataset.get_img_info(index)
        if prediction.has_field("labels"):
            is_known = prediction.get_field("labels") < len(class_names)
            unknown += int((~is_known).sum())
            prediction = prediction[is_known]
        wanted = ["scores", "labels", "objectness", "keypoints", *(["mask"] if with_masks else [])]
        detections.append(
            Detections.from_boxlist(
                prediction.copy_with_fields(wanted, skip_missing=True),
                image_size=HeightWidth(info["height"], info["width"]),
                class_names=class_names,
                mask_padding=numerics.mask_padding,
                mask_paste=numerics.paste,
                box_offset=numerics.box_offset,
                image_id=image_ids[index],
                keypoint_schema=getattr(dataset, "keypoint_schema", None),
                keypoint_offset=numerics.keypoint_offset,
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
