"""What a round trip must keep."""

from __future__ import annotations

import numpy as np

from maskrcnn_benchmark.results.detections import Detections


def assert_same(got: Detections, expected: Detections, *, atol: float = 0.0) -> None:
    assert got.image_size == expected.image_size
    assert got.class_names == expected.class_names
    assert got.labels.tolist() == expected.labels.tolist()
    np.testing.assert_allclose(got.boxes, expected.boxes, rtol=0, atol=atol)
    np.testing.assert_allclose(got.scores, expected.scores, rtol=0, atol=1e-6)
    assert got.masks == expected.masks
    assert got.path == expected.path
