"""Average recall of box proposals: how well the best of them cover the objects, whatever their class.

P: proposals of one image, best first.    G: objects of one image.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from maskrcnn_benchmark.data.datasets.evaluation.coco.results import NOT_MEASURED
from maskrcnn_benchmark.layers.boxes import LEGACY_OFFSET, box_iou
from maskrcnn_benchmark.results.detections import Detections

LIMITS = (100, 1000)
# Square pixels, both ends included, as the annotations give the area.
AREAS = {
    "": (0.0, 1e5**2),
    "s": (0.0, 32.0**2),
    "m": (32.0**2, 96.0**2),
    "l": (96.0**2, 1e5**2),
}
IOU_THRESHOLDS: NDArray[np.float32] = torch.arange(0.5, 0.95 + 1e-5, 0.05).numpy()

Floats = NDArray[np.float32]


def proposal_recall(pairs: Iterable[tuple[Detections, list[Any]]]) -> dict[str, float]:
    """Average recall by number of proposals and size of object: AR@100, ARs@100, ... ARl@1000.

    Args:
        pairs: for each image the proposals and COCO's annotations. Crowds are left out.

    Returns:
        The mean over the IoU thresholds .5, .55, ... .95 of the share of objects covered so well; -1 where there
        is no object of the size.
    """
    covered: dict[str, list[Floats]] = {f"AR{area}@{n}": [] for n in LIMITS for area in AREAS}
    for proposals, everything in pairs:
        objects = [annotation for annotation in everything if not annotation.get("iscrowd", 0)]
        if not objects:
            continue
        overlaps, areas = _overlaps(proposals, objects)
        for limit in LIMITS:
            for name, (least, most) in AREAS.items():
                columns = (areas >= least) & (areas <= most)
                covered[f"AR{name}@{limit}"].append(match_greedily(overlaps[:limit, columns]))
    return {name: _average_recall(values) for name, values in covered.items()}


def match_greedily(overlaps: Floats) -> Floats:
    """Give proposals to objects one by one, each time the pair with the highest overlap that is left.

    Args:
        overlaps: (P, G) IoU.

    Returns:
        (G,) IoU of each object with its proposal, in no particular order; 0 for an object without one.
    """
    left = overlaps.copy()
    matched = np.zeros(overlaps.shape[1], dtype=overlaps.dtype)
    for step in range(min(overlaps.shape)):
        proposal, target = np.unravel_index(left.argmax(), left.shape)
        matched[step] = left[proposal, target]
        left[proposal, :] = -1
        left[:, target] = -1
    return matched


def _overlaps(proposals: Detections, objects: list[Any]) -> tuple[Floats, NDArray[np.float64]]:
    """IoU (P, G) of the proposals, best first, and the areas (G,) of the objects."""
    best = proposals.sorted()[: max(LIMITS)]
    xywh = np.array([annotation["bbox"] for annotation in objects], dtype=np.float32)
    corners = np.concatenate(
        (xywh[:, :2], xywh[:, :2] + np.maximum(xywh[:, 2:] - LEGACY_OFFSET, 0)), axis=1
    )
    iou: Floats = box_iou(
        torch.from_numpy(best.boxes), torch.from_numpy(corners), offset=LEGACY_OFFSET
    ).numpy()
    default = xywh[:, 2].astype(np.float64) * xywh[:, 3]
    areas = [
        annotation.get("area", area) for annotation, area in zip(objects, default, strict=True)
    ]
    return iou, np.array(areas, dtype=np.float64)


def _average_recall(covered: list[Floats]) -> float:
    overlaps = np.concatenate(covered) if covered else np.zeros(0, dtype=np.float32)
    if not overlaps.size:
        return NOT_MEASURED
    return float((overlaps[None, :] >= IOU_THRESHOLDS[:, None]).mean())
