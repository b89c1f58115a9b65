"""VOCResults: average precision by class, and their mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

NOT_MEASURED = -1.0


class VOCResults(dict[str, Any]):
    """What the old evaluation returned, `{"ap": (C,), "map": float}`, with the names of the other results.

    Attributes:
        results: "bbox" -> "AP50" -> the mean over the classes that have objects; -1 where none has.
        per_class: "bbox" -> class name -> "AP50".
        passed: whether the expected values were met; None where nothing was expected.
    """

    METRICS: ClassVar[dict[str, tuple[str, ...]]] = {"bbox": ("AP50",)}

    def __init__(self, precisions: NDArray[np.float64], class_names: Sequence[str]) -> None:
        """Take the precisions.

        Args:
            precisions: (C,) of each label, background included; nan where there are no objects.
            class_names: (C) names of the labels.
        """
        measured = precisions[~np.isnan(precisions)]
        mean = float(measured.mean()) if measured.size else math.nan
        super().__init__(ap=precisions, map=mean)
        self.class_names = tuple(class_names)
        self.results = {"bbox": {"AP50": _plain(mean)}}
        self.per_class = {
            "bbox": {
                name: {"AP50": _plain(float(value))}
                for name, value in zip(self.class_names[1:], precisions[1:], strict=True)
            }
        }
        self.passed: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Everything in types that JSON knows."""
        return {"results": self.results, "per_class": self.per_class, "passed": self.passed}

    def __str__(self) -> str:
        lines = [f"mAP: {self['map']:.4f}"]
        named = zip(self.class_names[1:], self["ap"][1:], strict=True)
        lines += [f"{name:<16}: {value:.4f}" for name, value in named]
        return "\n".join(lines) + "\n"


def _plain(value: float) -> float:
    return NOT_MEASURED if math.isnan(value) else value
