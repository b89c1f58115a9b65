from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark.results.pictures import to_rgb


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 257, 65535]], dtype=np.uint16), [0, 1, 255]),
        (np.array([[0, 1, 255]], dtype=np.int32), [0, 1, 255]),
        (np.array([[0, 257, 65535]], dtype=np.int32), [0, 1, 255]),
        (np.array([[0, 0.2, 1]], dtype=np.float32), [0, 51, 255]),
        (np.array([[0, 51, 255]], dtype=np.float32), [0, 51, 255]),
        (np.array([[-3, 300, 255]], dtype=np.float32), [0, 255, 255]),
    ],
)
def test_deep_grey_is_scaled_by_its_range(values: np.ndarray, expected: list[int]) -> None:
    pixels = np.asarray(to_rgb(Image.fromarray(values)))
    assert pixels.shape == (1, 3, 3)
    assert pixels[0, :, 0].tolist() == pixels[0, :, 2].tolist() == expected


def test_what_cannot_be_shown_is_refused() -> None:
    with pytest.raises(ValueError, match="0x3 pixels"):
        to_rgb(Image.new("RGB", (0, 3)))
    with pytest.raises(ValueError, match="NaN or infinity"):
        to_rgb(Image.fromarray(np.array([[np.nan]], dtype=np.float32)))
