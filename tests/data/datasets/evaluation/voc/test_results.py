"""VOCResults: the old dict, the shape of the other results, and the old lines."""

from __future__ import annotations

import json
import math

import numpy as np

from maskrcnn_benchmark.data.datasets.evaluation.voc import VOCResults


def test_both_faces() -> None:
    results = VOCResults(np.array([np.nan, 0.5, np.nan, 0.25]), ("__background__", "a", "b", "c"))
    assert set(results) == {"ap", "map"}
    assert results["map"] == 0.375
    assert results.results == {"bbox": {"AP50": 0.375}}
    assert results.per_class["bbox"]["b"] == {"AP50": -1}
    assert json.loads(json.dumps(results.to_dict()))["passed"] is None
    assert str(results) == (
        "mAP: 0.3750\na               : 0.5000\nb               : nan\nc               : 0.2500\n"
    )


def test_nothing_measured() -> None:
    results = VOCResults(np.array([np.nan, np.nan]), ("__background__", "a"))
    assert math.isnan(results["map"])
    assert results.results == {"bbox": {"AP50": -1}}
