"""Evaluation of a data set in COCO's terms: from Detections to numbers, log lines and files."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from maskrcnn_benchmark.data.datasets.evaluation.coco.proposals import proposal_recall
from maskrcnn_benchmark.data.datasets.evaluation.coco.results import COCOResults
from maskrcnn_benchmark.data.datasets.evaluation.coco.scoring import IouType, score_coco
from maskrcnn_benchmark.data.datasets.evaluation.coco.tables import format_classes, format_recalls
from maskrcnn_benchmark.data.datasets.evaluation.expected_results import (
    check_expected_results,
    parse_expected_results,
)
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.writers import write_json
from maskrcnn_benchmark.utils.atomic import atomic_write

logger = logging.getLogger("maskrcnn_benchmark.inference")

RawResults = dict[str, list[dict[str, Any]]]

_IOU_TYPES: dict[str, IouType] = {"bbox": "bbox", "segm": "segm", "keypoints": "keypoints"}
# What of a detection is compared.
_WANTED = {
    "bbox": {"bbox"},
    "segm": {"segmentation"},
    "keypoints": {"keypoints", "keypoint_scores"},
}


class COCOStyleDataset(Protocol):
    """What a data set must offer to be scored.

    Attributes:
        coco: its annotations, a pycocotools COCO.
        contiguous_category_id_to_json_id: label -> category id.
        id_to_img_map: index in the data set -> image id.
    """

    coco: Any
    contiguous_category_id_to_json_id: Mapping[int, int]
    id_to_img_map: Mapping[int, Any]

    def __len__(self) -> int: ...

    def get_img_info(self, index: int) -> Mapping[str, Any]:
        """At least `width` and `height` of the image at an index."""
        ...


def evaluate_detections(
    dataset: Any,
    detections: Sequence[Detections],
    *,
    output_folder: str | os.PathLike[str] | None = None,
    box_only: bool = False,
    iou_types: Sequence[str] = ("bbox",),
    expected_results: Sequence[Any] = (),
    expected_results_sigma_tol: float = 4,
) -> tuple[COCOResults, RawResults]:
    """Score what was found in every image of a data set.

    Args:
        dataset: see `COCOStyleDataset`.
        detections: one for each image, in the order of the data set, in pixels of the original images.
        output_folder: where result files go: `bbox.json`, `segm.json` and `keypoints.json` (COCO results) and
            `coco_results.json` and `.pth` (the numbers), or `box_proposals.json` and `.pth`. None writes nothing.
        box_only: score the boxes as proposals, by recall.
        iou_types: any of "bbox", "segm" and "keypoints".
        expected_results: see `parse_expected_results`.
        expected_results_sigma_tol: see `check_expected_results`.

    Returns:
        The numbers, and by task the results as in a COCO results file (none for proposals).

    Raises:
        DatasetError: if the detections do not belong to this data set.
        ConfigError: for expectations of what is not measured.
    """
    tasks = ("box_proposal",) if box_only else tuple(iou_types)
    _check_tasks(tasks)
    known = {task: COCOResults.metric_names(task) for task in tasks}
    expectations = parse_expected_results(expected_results, known=known)
    _check_images(dataset, detections)

    results = COCOResults(*tasks)
    raw: RawResults = {}
    if box_only:
        results.update("box_proposal", _score_proposals(dataset, detections))
    else:
        raw = {task: _collect_entries(dataset, detections, task) for task in tasks}
        _write_entries(raw, output_folder)
        image_ids = [dataset.id_to_img_map[index] for index in range(len(dataset))]
        schema = getattr(dataset, "keypoint_schema", None)
        for task, entries in raw.items():
            scores = score_coco(
                dataset.coco,
                entries,
                iou_type=_IOU_TYPES[task],
                image_ids=image_ids,
                oks_sigmas=schema.sigmas if schema else (),
            )
            results.update(task, scores.metrics, scores.per_class)
    _log(results)
    if expectations:
        results.passed = check_expected_results(
            results.results, expectations, sigma_tol=expected_results_sigma_tol
        )
    _write_results(results, output_folder, "box_proposals" if box_only else "coco_results")
    return results, raw


def _check_tasks(tasks: Sequence[str]) -> None:
    if unknown := [task for task in tasks if task not in COCOResults.METRICS]:
        raise DatasetError(
            f"cannot score {', '.join(unknown)}: expected iou_types out of 'bbox', 'segm' and 'keypoints'"
        )


def _check_images(dataset: COCOStyleDataset, detections: Sequence[Detections]) -> None:
    if len(detections) != len(dataset):
        raise DatasetError(
            f"expected detections for each of the {len(dataset)} images of the data set, "
            f"got {len(detections)}"
        )
    for index, found in enumerate(detections):
        image_id = dataset.id_to_img_map[index]
        if found.image_id is not None and found.image_id != image_id:
            raise DatasetError(
                f"detections {index} are of image {found.image_id!r}, but image {index} of the data "
                f"set is {image_id!r}; bring them into the order of the data set"
            )


def _collect_entries(
    dataset: COCOStyleDataset, detections: Sequence[Detections], task: str
) -> list[dict[str, Any]]:
    """All detections as in a COCO results file: a box, a mask or keypoints each, not all of them."""
    category_ids = dataset.contiguous_category_id_to_json_id
    unwanted = {"bbox", "segmentation", "keypoints", "keypoint_scores"} - _WANTED[task]
    entries = []
    for index, found in enumerate(detections):
        image_id = dataset.id_to_img_map[index]
        if task == "segm" and found.masks is None and len(found):
            raise DatasetError(
                f"cannot score masks: the detections of image {image_id!r} have none; "
                "ask for iou_types ('bbox',) or predict with a model that has a mask head"
            )
        if task == "keypoints" and found.keypoints is None and len(found):
            raise DatasetError(
                f"cannot score keypoints: the detections of image {image_id!r} have none; "
                "ask for iou_types ('bbox',) or predict with a model that has a keypoint head"
            )
        if unknown := set(found.labels.tolist()) - set(category_ids):
            raise DatasetError(
                f"the detections of image {image_id!r} have label {min(unknown)}, but the data set "
                f"has {len(category_ids)} categories, labels {min(category_ids, default=0)} to "
                f"{max(category_ids, default=0)}; is the model one for other classes?"
            )
        for entry in found.to_coco(category_ids, image_id):
            entries.append({name: value for name, value in entry.items() if name not in unwanted})
    return entries


def _score_proposals(
    dataset: COCOStyleDataset, detections: Sequence[Detections]
) -> dict[str, float]:
    return proposal_recall(
        (found, dataset.coco.imgToAnns.get(dataset.id_to_img_map[index], []))
        for index, found in enumerate(detections)
    )


def _log(results: COCOResults) -> None:
    logger.info(results)
    if recalls := format_recalls(results):
        logger.info("\n%s", recalls)
    if classes := format_classes(results):
        logger.info("Per class, in percent:\n%s", classes)


def _write_entries(raw: RawResults, folder: str | os.PathLike[str] | None) -> None:
    if folder:
        for task, entries in raw.items():
            write_json(Path(folder) / f"{task}.json", entries)


def _write_results(results: COCOResults, folder: str | os.PathLike[str] | None, name: str) -> None:
    """Write the numbers twice: for everyone, and under the old name (`torch.load` gives plain dicts)."""
    if not folder:
        return
    write_json(Path(folder) / f"{name}.json", results.to_dict())
    with atomic_write(Path(folder) / f"{name}.pth", "wb") as file:
        torch.save(results.to_dict(), file)
