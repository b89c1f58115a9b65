"""COCOResults: the numbers of one evaluation, by task and metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

# Areas in square pixels: small below 32 x 32, large above 96 x 96, medium between.
_PRECISIONS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
_KEYPOINT_PRECISIONS = ("AP", "AP50", "AP75", "APm", "APl")
_RECALLS = ("AR@1", "AR@10", "AR@100", "ARs@100", "ARm@100", "ARl@100")
_KEYPOINT_RECALLS = ("AR@20", "AR50@20", "AR75@20", "ARm@20", "ARl@20")
_PROPOSAL_RECALLS = tuple(
    f"AR{area}@{limit}" for limit in (100, 1000) for area in ("", "s", "m", "l")
)

NOT_MEASURED = -1.0


class COCOResults:
    """What an evaluation measured; a number that cannot be measured (no such objects) is -1.

    Attributes:
        results: task -> metric -> value between 0 and 1. "bbox" and "segm" have COCO's twelve numbers: average
            precision (AP...) and average recall (AR@ the number of detections per image); "keypoints" its ten.
        per_class: task -> class name -> AP, AP50 and the number of objects ("objects").
        passed: whether the expected values were met; None where nothing was expected.
    """

    # What is printed; the old project knew these numbers only.
    METRICS: ClassVar[dict[str, tuple[str, ...]]] = {
        "bbox": _PRECISIONS,
        "segm": _PRECISIONS,
        "keypoints": _KEYPOINT_PRECISIONS,
        "box_proposal": _PROPOSAL_RECALLS,
    }
    # What there is besides.
    RECALLS: ClassVar[dict[str, tuple[str, ...]]] = {
        "bbox": _RECALLS,
        "segm": _RECALLS,
        "keypoints": _KEYPOINT_RECALLS,
    }

    def __init__(self, *iou_types: str) -> None:
        """Prepare the tasks with all numbers unset.

        Args:
            iou_types: "bbox", "segm", "keypoints", "box_proposal".
        """
        self.results: dict[str, dict[str, float]] = {
            task: dict.fromkeys(self.metric_names(task), NOT_MEASURED) for task in iou_types
        }
        self.per_class: dict[str, dict[str, dict[str, float]]] = {}
        self.passed: bool | None = None

    @classmethod
    def metric_names(cls, task: str) -> tuple[str, ...]:
        """All metrics of a task, in the order COCO prints them."""
        return cls.METRICS[task] + cls.RECALLS.get(task, ())

    def update(
        self,
        task: str,
        metrics: Mapping[str, float],
        per_class: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        """Set what was measured for one task."""
        self.results[task].update(metrics)
        if per_class is not None:
            self.per_class[task] = {name: dict(numbers) for name, numbers in per_class.items()}

    def to_dict(self) -> dict[str, Any]:
        """Everything in types that JSON knows."""
        return {"results": self.results, "per_class": self.per_class, "passed": self.passed}

    def __repr__(self) -> str:
        lines = [""]
        for task, values in self.results.items():
            names = self.METRICS[task]
            lines.append(f"Task: {task}")
            lines.append(", ".join(names))
            lines.append(", ".join(f"{values[name]:.4f}" for name in names))
        return "\n".join(lines)
