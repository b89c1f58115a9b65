import numpy as np
from PIL import Image

from maskrcnn_benchmark.results.comparison import draw_comparison, set_side_by_side
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.structures.sizes import HeightWidth


def make_detections(count: int) -> Detections:
    return Detections(
        image_size=HeightWidth(60, 80),
        boxes=np.tile(np.array([[20, 20, 50, 40]], dtype=np.float32), (count, 1)),
        scores=np.ones(count),
        labels=np.ones(count),
        class_names=("__background__", "cat"),
    )


def test_prediction_stands_left_of_the_truth() -> None:
    image = np.full((60, 80, 3), 90, dtype=np.uint8)
    sheet = np.asarray(draw_comparison(image, make_detections(0), make_detections(1), min_side=60))
    middle = sheet.shape[1] // 2
    left, right = sheet[:, :middle], sheet[:, middle:]
    # Smoothed letters of the headings may have the same grey.
    assert 0 <= (left == 90).all(axis=2).sum() - 60 * 80 < 50
    assert 0 < (right == 90).all(axis=2).sum() < 60 * 80 - 100
    assert (sheet[:10] < 100).any()  # the headings
    assert sheet.shape[0] > 60
    assert sheet.shape[1] > 160


def test_small_images_are_enlarged() -> None:
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    sheet = draw_comparison(image, make_detections(1), make_detections(1))
    assert sheet.height > 480


def test_any_number_of_pictures_fits() -> None:
    pictures = [Image.new("RGB", (50, 40), (0, 0, 0)) for _ in range(3)]
    sheet = np.asarray(set_side_by_side(pictures, ["a", "b", "c"]))
    assert (sheet == 0).all(axis=2).sum() >= 3 * 50 * 40
