"""How fast detections are scored: COCO's box AP on drawn results."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
from pycocotools.coco import COCO

from maskrcnn_benchmark.bench.timing import Timing, take_turns
from maskrcnn_benchmark.data.datasets.evaluation.coco.scoring import score_coco

_CLASSES = 80
_OBJECTS = 7  # COCO's average
_SIDE = 600.0


def draw_results(images: int, detections: int) -> tuple[COCO, list[dict[str, Any]]]:
    """Ground truth of random boxes, and results: the same boxes moved a little, and boxes anywhere."""
    generator = np.random.default_rng(0)
    truth: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        boxes = _boxes(generator, _OBJECTS)
        classes = generator.integers(1, _CLASSES + 1, _OBJECTS)
        for box, category in zip(boxes, classes, strict=True):
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": image,
                    "category_id": int(category),
                    "bbox": box.tolist(),
                    "area": float(box[2] * box[3]),
                    "iscrowd": 0,
                }
            )
        own = generator.integers(0, _OBJECTS, detections)
        found = np.where(
            generator.random((detections, 1)) < 0.5,
            boxes[own] + generator.normal(0, 4, (detections, 4)),
            _boxes(generator, detections),
        )
        scores = generator.random(detections)
        for box, index, score in zip(np.maximum(found, 1), own, scores, strict=True):
            results.append(
                {
                    "image_id": image,
                    "category_id": int(classes[index]),
                    "bbox": box.tolist(),
                    "score": float(score),
                }
            )
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i, "width": 640, "height": 640} for i in range(1, images + 1)],
        "annotations": truth,
        "categories": [{"id": i, "name": str(i)} for i in range(1, _CLASSES + 1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco, results


def time_scoring(*, images: int, detections: int, rounds: int) -> dict[str, Timing]:
    """Seconds of one scoring of all images."""
    truth, results = draw_results(images, detections)
    return take_turns(
        {"box AP": lambda: score_coco(truth, results, iou_type="bbox")}, rounds=rounds
    )


def _boxes(generator: np.random.Generator, count: int) -> Any:
    corner = generator.random((count, 2)) * (_SIDE - 200)
    return np.concatenate((corner, 10 + generator.random((count, 2)) * 190), axis=1)
