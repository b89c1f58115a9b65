from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.results.cropping import crop
from maskrcnn_benchmark.results.detections import Detections

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def test_each_object_is_cut_out(drawn: Detections) -> None:
    pictures = crop(IMAGE, drawn)
    for picture, (left, top, right, bottom) in zip(
        pictures, drawn.boxes.astype(int).tolist(), strict=True
    ):
        np.testing.assert_array_equal(
            np.asarray(picture), IMAGE[top : bottom + 1, left : right + 1]
        )
    padded = drawn.crop(Image.fromarray(IMAGE), padding=3)
    assert padded[0].size == (pictures[0].width + 6, pictures[0].height + 6)
    assert padded[1].size == (pictures[1].width + 3, pictures[1].height + 3)  # in the corner


def test_what_is_not_of_the_object_becomes_transparent(drawn: Detections) -> None:
    alpha = [np.asarray(picture)[..., 3] > 0 for picture in crop(IMAGE, drawn, cut_out=True)]
    assert [int(mask.sum()) for mask in alpha] == drawn.areas().astype(int).tolist()


def test_boxes_beyond_the_image_are_cut(boxes_only: Detections) -> None:
    outside = Detections(
        image_size=boxes_only.image_size,
        boxes=np.array([[-9, -9, -5, -5], [100, 100, 120, 120], [5, 5, 4, 4]]),
        scores=np.ones(3),
        labels=np.ones(3),
        class_names=("__background__", "x"),
    )
    assert all(min(picture.size) >= 1 for picture in crop(IMAGE, outside))


def test_what_does_not_fit_is_named(drawn: Detections, boxes_only: Detections) -> None:
    with pytest.raises(ShapeError, match="the image has 60x80 pixels"):
        crop(IMAGE.transpose(1, 0, 2), drawn)
    with pytest.raises(ShapeError, match="no masks"):
        crop(IMAGE, boxes_only, cut_out=True)
