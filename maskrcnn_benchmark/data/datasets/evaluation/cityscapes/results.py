"""CityscapesResults: average precision by class and threshold, and their means.

C: classes, background included.    T: IoU thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from maskrcnn_benchmark.data.datasets.evaluation.cityscapes.scoring import (
    IOU_THRESHOLDS,
    MIN_REGION_SIZE,
)

Floats = NDArray[np.float64]

NOT_MEASURED = -1.0
_AT_50, _AT_75 = 0, 5


class CityscapesResults:
    """What was measured; the old evaluation returned None.

    Attributes:
        precisions: "bbox" or "segm" -> (C, T), nan for a class without objects.
        results: task -> AP, AP50 and AP75, means over the classes that have objects; -1 where none has.
        per_class: task -> class name -> the same three.
        passed: whether the expected values were met; None where nothing was expected.
    """

    METRICS: ClassVar[tuple[str, ...]] = ("AP", "AP50", "AP75")

    def __init__(self, precisions: Mapping[str, Floats], class_names: Sequence[str]) -> None:
        """Take what `score_cityscapes` gave for each task, and the names of the labels."""
        self.precisions = dict(precisions)
        self.class_names = tuple(class_names)
        self.results = {task: _plain(_means(values)) for task, values in precisions.items()}
        self.per_class = {
            task: {
                name: _plain(_means(row[None]))
                for name, row in zip(self.class_names[1:], values[1:], strict=True)
            }
            for task, values in precisions.items()
        }
        self.passed: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Everything in types that JSON knows."""
        return {"results": self.results, "per_class": self.per_class, "passed": self.passed}

    def to_file(self, task: str) -> dict[str, Any]:
        """What the old project's result file of a task holds; what was not measured is null."""
        values = self.precisions[task]
        means = _means(values)
        return {
            "averages": {
                **_file_names(means, "allAp"),
                "classes": {
                    name: _file_names(_means(row[None]), "ap")
                    for name, row in zip(self.class_names, values, strict=True)
                },
            },
            "overlaps": IOU_THRESHOLDS.tolist(),
            "minRegionSizes": [MIN_REGION_SIZE],
            "instLabels": list(self.class_names),
            "resultApMatrix": [[_or_null(value) for value in row] for row in values.tolist()],
        }

    def __str__(self) -> str:
        lines = []
        for task, classes in self.per_class.items():
            lines += ["", f"Task: {task}"]
            lines.append(f"{'what':<16}{'AP':>8}{'AP_50%':>8}{'AP_75%':>8}")
            for name, values in (*classes.items(), ("average", self.results[task])):
                cells = "".join(f"{_cell(values[metric]):>8}" for metric in self.METRICS)
                lines.append(f"{name:<16}{cells}")
        return "\n".join(lines)


def _means(values: Floats) -> dict[str, float]:
    """AP, AP50 and AP75 of some classes; nan where there is nothing to average."""
    columns = {"AP": values, "AP50": values[:, _AT_50], "AP75": values[:, _AT_75]}
    means = {}
    for name, column in columns.items():
        measured = column[~np.isnan(column)]
        means[name] = float(measured.mean()) if measured.size else math.nan
    return means


def _plain(means: Mapping[str, float]) -> dict[str, float]:
    return {name: NOT_MEASURED if math.isnan(value) else value for name, value in means.items()}


def _file_names(means: Mapping[str, float], prefix: str) -> dict[str, float | None]:
    endings = {"AP": "", "AP50": "50%", "AP75": "75%"}
    return {prefix + endings[name]: _or_null(value) for name, value in means.items()}


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value


def _cell(value: float) -> str:
    return "-" if value == NOT_MEASURED else f"{value:.3f}"
