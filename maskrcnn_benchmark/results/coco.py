"""Detections as COCO writes them: lists of results, and whole documents with images and categories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from maskrcnn_benchmark.layers.boxes import LEGACY_OFFSET
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.keypoints import FoundKeypoints
from maskrcnn_benchmark.results.masks import area_of, box_around, normalize_rle
from maskrcnn_benchmark.structures.keypoint import KeypointSchema
from maskrcnn_benchmark.structures.sizes import HeightWidth


def detections_from_coco(
    entries: Sequence[Mapping[str, Any]],
    *,
    image_size: HeightWidth,
    class_names: Sequence[str],
    labels_of_categories: Mapping[int, int],
    image_id: int | str | None = None,
    path: str | None = None,
    box_offset: float = LEGACY_OFFSET,
    keypoint_schema: KeypointSchema | None = None,
) -> Detections:
    """Read the results of one image, as `Detections.to_coco` writes them.

    Args:
        entries: with `category_id`, `score`, and `bbox` (x, y, width, height), `segmentation` (RLE) or `keypoints`
            (flat), perhaps all of them. Masks and keypoints are taken where all entries have them; a missing box is
            drawn around the mask, or the keypoints.
        image_size: height and width of the image.
        class_names: name of each label.
        labels_of_categories: category id of the file -> label.
        image_id: what the data set calls the image.
        path: file of the image.
        box_offset: see `Detections`.
        keypoint_schema: what keypoints are; None: a person's if there are 17, else without names.
    """
    masks = None
    if entries and all("segmentation" in entry for entry in entries):
        masks = [normalize_rle(entry["segmentation"]) for entry in entries]
    xywh = np.array(
        [_box_of(entry, box_offset) for entry in entries],
        dtype=np.float64,
    ).reshape(-1, 4)
    return Detections(
        image_size=image_size,
        boxes=np.concatenate((xywh[:, :2], xywh[:, :2] + xywh[:, 2:] - box_offset), axis=1),
        scores=np.array([entry["score"] for entry in entries]),
        labels=np.array([labels_of_categories[entry["category_id"]] for entry in entries]),
        class_names=tuple(class_names),
        masks=masks,
        image_id=image_id,
        path=path,
        box_offset=box_offset,
        keypoints=FoundKeypoints.from_coco(entries, keypoint_schema),
    )


def _box_of(entry: Mapping[str, Any], box_offset: float) -> Sequence[float]:
    """The box (x, y, width, height) of a result, drawn around its mask or keypoints where it is missing."""
    if "bbox" in entry:
        box: Sequence[float] = entry["bbox"]
        return box
    if "segmentation" in entry:
        return box_around(normalize_rle(entry["segmentation"]))
    x, y = entry["keypoints"][0::3], entry["keypoints"][1::3]
    return min(x), min(y), max(x) - min(x) + box_offset, max(y) - min(y) + box_offset


def coco_document(
    detections: Iterable[Detections], *, category_ids: Mapping[int, int] | None = None
) -> dict[str, Any]:
    """What was found in several images as one COCO data set, which annotation tools and `COCO()` can open.

    Args:
        detections: one for each image. Images without an `image_id` are numbered from 1 in order; so all should
            have one, or none.
        category_ids: label -> category id; None where labels are the ids.

    Returns:
        A dict with `images`, `categories` and `annotations`; annotations have a `score` besides. Where there are
        keypoints, the categories name them and their lines.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    names: dict[int, str] = {}
    keypoints: FoundKeypoints | None = None
    for position, found in enumerate(detections, start=1):
        image_id = position if found.image_id is None else found.image_id
        keypoints = found.keypoints if keypoints is None else keypoints
        height, width = found.image_size
        images.append(
            {"id": image_id, "file_name": found.path or "", "width": width, "height": height}
        )
        for label, name in enumerate(found.class_names[1:], start=1):
            names.setdefault(label if category_ids is None else category_ids[label], name)
        for entry in found.to_coco(category_ids, image_id):
            area = (
                float(area_of(entry["segmentation"]))
                if "segmentation" in entry
                else entry["bbox"][2] * entry["bbox"][3]
            )
            if "keypoints" in entry:
                entry["num_keypoints"] = sum(v > 0 for v in entry["keypoints"][2::3])
            annotations.append({"id": len(annotations) + 1, **entry, "area": area, "iscrowd": 0})
    record = {} if keypoints is None else keypoints.category_record()
    categories = [{"id": category, "name": name, **record} for category, name in names.items()]
    return {"images": images, "categories": categories, "annotations": annotations}
