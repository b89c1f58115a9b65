"""COCO's average precision and recall of boxes, masks or keypoints, computed by pycocotools.

T: IoU thresholds (10).    R: recall steps (101).    K: categories.    A: area ranges (4).    D: detection limits (3).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskrcnn_benchmark.data.datasets.evaluation.coco.keypoints import (
    check_entries,
    complete_entry,
    complete_targets,
    find_sigmas,
)
from maskrcnn_benchmark.data.datasets.evaluation.coco.results import NOT_MEASURED, COCOResults
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.results.masks import area_of, encode_polygons, normalize_rle

# They declare no types.
_COCO: Any = COCO
_COCOeval: Any = COCOeval

IouType = Literal["bbox", "segm", "keypoints"]
Entry = Mapping[str, Any]

_ALL_AREAS = 0
_MOST_DETECTIONS = -1
_IOU_50 = 0


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What was measured for one task.

    Attributes:
        metrics: the names of `COCOResults.metric_names` -> value.
        per_class: class name -> AP, AP50 and the number of objects that are scored, i.e. are no crowd and, for
            keypoints, have some ("objects").
    """

    metrics: dict[str, float]
    per_class: dict[str, dict[str, float]]


def score_coco(
    ground_truth: COCO,
    entries: Sequence[Entry],
    *,
    iou_type: IouType,
    image_ids: Iterable[Any] | None = None,
    oks_sigmas: Sequence[float] = (),
) -> Scores:
    """Compare results with ground truth.

    Args:
        ground_truth: the data set; it is left as it is.
        entries: as in a COCO results file, for any number of images, perhaps none.
        iou_type: "bbox" compares boxes, "segm" masks, "keypoints" keypoints.
        image_ids: the images that were searched; None for all of the data set.
        oks_sigmas: tolerance of each keypoint as a share of the object's scale (COCO's object keypoint similarity);
            empty: what `keypoints.find_sigmas` says.

    Raises:
        DatasetError: if there is no image, an entry belongs to none of them, its score is not finite, or its
            keypoints are not as many as the data set's.
    """
    ids = list(ground_truth.imgs) if image_ids is None else list(image_ids)
    if not ids:
        raise DatasetError("cannot score results: the data set has no images")
    _check_entries(entries, image_ids=set(ids), category_ids=set(ground_truth.cats))
    targets = _copy_targets(ground_truth, ids, iou_type)
    images, categories = list(ground_truth.imgs.values()), list(ground_truth.cats.values())
    if iou_type == "keypoints":
        oks_sigmas = find_sigmas(categories, targets, oks_sigmas)
        targets = complete_targets(targets, count=len(oks_sigmas))
        check_entries(entries, count=len(oks_sigmas))
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints at every step
        evaluation: Any = _COCOeval(
            _make_coco(images, categories, targets),
            _make_coco(images, categories, _complete_entries(entries, iou_type)),
            iou_type,
        )
        evaluation.params.imgIds = ids
        if iou_type == "keypoints":
            evaluation.params.kpt_oks_sigmas = np.array(oks_sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    if iou_type == "keypoints":
        targets = [target for target in targets if target["num_keypoints"] > 0]
    metrics = dict(
        zip(COCOResults.metric_names(iou_type), map(float, evaluation.stats), strict=True)
    )
    return Scores(metrics=metrics, per_class=_score_classes(evaluation, categories, targets))


def _check_entries(
    entries: Sequence[Entry], *, image_ids: set[Any], category_ids: set[int]
) -> None:
    for index, entry in enumerate(entries):
        if entry["image_id"] not in image_ids:
            raise DatasetError(
                f"result {index} is for image {entry['image_id']!r}, which is not among the "
                f"{len(image_ids)} images to score; are the results of another data set?"
            )
        if entry["category_id"] not in category_ids:
            raise DatasetError(
                f"result {index} has category {entry['category_id']!r}, which the data set does not "
                f"declare; it has {sorted(category_ids)}"
            )
        if not np.isfinite(entry["score"]):
            raise DatasetError(
                f"result {index} (image {entry['image_id']!r}) has score {entry['score']}; "
                "a model whose outputs are not finite cannot be scored"
            )


def _make_coco(images: list[Any], categories: list[Any], annotations: list[Any]) -> Any:
    coco: Any = _COCO()
    coco.dataset = {"images": images, "categories": categories, "annotations": annotations}
    coco.createIndex()
    return coco


def _copy_targets(ground_truth: COCO, image_ids: list[Any], iou_type: IouType) -> list[Any]:
    """Ground truth of some images, complete, and safe from COCOeval, which writes into what it is given."""
    targets: list[Any] = []
    for image_id in image_ids:
        image = ground_truth.imgs[image_id]
        for annotation in ground_truth.imgToAnns.get(image_id, ()):
            target = {
                "area": annotation["bbox"][2] * annotation["bbox"][3],
                "iscrowd": 0,
                **annotation,
                # COCOeval takes id 0 for "not matched".
                "id": len(targets) + 1,
            }
            if iou_type == "segm":
                target["segmentation"] = _encode_target(annotation, image)
            targets.append(target)
    return targets


def _encode_target(annotation: Entry, image: Entry) -> Any:
    segmentation = annotation.get("segmentation")
    # An object with an empty list would be one without pixels, which nothing can find.
    if segmentation is None or (not segmentation and not annotation.get("iscrowd")):
        raise DatasetError(
            f"annotation {annotation['id']} (image {annotation['image_id']}) has no segmentation, so "
            "masks cannot be scored; score boxes only, or complete the annotations"
        )
    if isinstance(segmentation, Mapping):
        return normalize_rle(segmentation)
    return encode_polygons(segmentation, height=image["height"], width=image["width"])


def _complete_entries(entries: Sequence[Entry], iou_type: IouType) -> list[dict[str, Any]]:
    """Results with what COCOeval wants besides: an id, an area, and that they are no crowd."""
    completed = []
    for number, entry in enumerate(entries, start=1):
        if iou_type == "keypoints":
            completed.append(complete_entry(entry, number))
            continue
        if iou_type == "bbox":
            area = entry["bbox"][2] * entry["bbox"][3]
        else:
            area = area_of(normalize_rle(entry["segmentation"]))
        completed.append({**entry, "id": number, "area": area, "iscrowd": 0})
    return completed


def _score_classes(
    evaluation: Any, categories: list[Any], targets: list[Any]
) -> dict[str, dict[str, float]]:
    """AP and AP50 of each class, in the order of the data set."""
    precision = evaluation.eval["precision"][:, :, :, _ALL_AREAS, _MOST_DETECTIONS]  # (T, R, K)
    rows = {category: row for row, category in enumerate(evaluation.params.catIds)}
    objects = dict.fromkeys(rows, 0)
    for target in targets:
        if not target["iscrowd"] and target["category_id"] in objects:
            objects[target["category_id"]] += 1
    scores: dict[str, dict[str, float]] = {}
    for category in categories:
        number, name = category["id"], category["name"]
        if name in scores:  # Nothing forbids two categories of one name.
            name = f"{name} ({number})"
        of_class = precision[:, :, rows[number]]
        scores[name] = {
            "AP": _mean_measured(of_class),
            "AP50": _mean_measured(of_class[_IOU_50]),
            "objects": objects[number],
        }
    return scores


def _mean_measured(values: NDArray[np.float64]) -> float:
    measured = values[values > NOT_MEASURED]
    return float(measured.mean()) if measured.size else NOT_MEASURED
