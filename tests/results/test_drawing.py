from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.predict.images import read_image
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.drawing import _overlap, _place_label, draw
from maskrcnn_benchmark.results.masks import encode_mask
from maskrcnn_benchmark.structures.sizes import HeightWidth

NAMES = (
    "__background__",
    "cat",
    "a class with a very long name that no small picture has room for",
)


def make_detections(
    boxes: list[list[float]], *, size: tuple[int, int] = (120, 160), with_masks: bool = True
) -> Detections:
    masks = []
    for x1, y1, x2, y2 in boxes:
        mask = np.zeros(size, dtype=bool)
        mask[int(y1) : int(y2) + 1, int(x1) : int(x2) + 1] = True
        masks.append(encode_mask(mask))
    return Detections(
        image_size=HeightWidth(*size),
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        scores=np.linspace(0.9, 0.5, len(boxes), dtype=np.float32),
        labels=np.ones(len(boxes), dtype=np.int64),
        class_names=NAMES,
        masks=masks if with_masks else None,
    )


def grey(size: tuple[int, int] = (120, 160)) -> np.ndarray:
    return np.full((*size, 3), 128, dtype=np.uint8)


def test_only_the_object_and_its_label_change() -> None:
    image = grey()
    picture = np.asarray(draw(image, make_detections([[60, 60, 99, 99]])))
    assert (image == 128).all()
    changed = (picture != 128).any(axis=2)
    assert changed[60:100, 60:100].all()
    assert not changed[101:].any()
    assert not changed[:, :60].any()
    inner = picture[70:90, 70:90].reshape(-1, 3)
    assert len(np.unique(inner, axis=0)) == 1
    assert not (inner == picture[60, 60]).all()  # translucent inside, solid at the edge


def test_a_picture_without_objects_is_the_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        np.asarray(draw(image, make_detections([], size=(40, 50)))), image
    )


def test_the_smaller_object_lies_on_top() -> None:
    both = make_detections([[10, 10, 149, 109], [60, 50, 99, 79]])
    picture = np.asarray(draw(grey(), both))
    reversed_order = np.asarray(
        draw(grey(), make_detections([[60, 50, 99, 79], [10, 10, 149, 109]]))
    )
    assert (picture[65, 80] != picture[100, 30]).any()
    assert (reversed_order[65, 80] != reversed_order[100, 30]).any()


def test_scores_can_be_left_out() -> None:
    found = make_detections([[20, 40, 99, 99]])
    without = np.asarray(draw(grey(), found, with_scores=False))
    assert (np.asarray(draw(grey(), found)) != without).any()


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (12, 12)])
def test_tiny_and_narrow_images_are_drawn(size: tuple[int, int]) -> None:
    box = [0.0, 0.0, size[1] - 1, size[0] - 1]
    found = make_detections([box, box], size=size)
    assert draw(grey(size), found).size == (size[1], size[0])
    assert min(draw(grey(size), found, min_side=64).size) == 64


def test_small_images_are_enlarged_together_with_their_objects() -> None:
    picture = np.asarray(
        draw(grey((30, 40)), make_detections([[20, 15, 29, 24]], size=(30, 40)), min_side=120)
    )
    assert picture.shape == (120, 160, 3)
    changed = (picture != 128).any(axis=2)
    assert changed[60:100, 80:120].all()
    assert not changed[100:].any()


def test_boxes_outside_the_image_do_no_harm() -> None:
    found = make_detections([[-50, -50, -10, -10], [150, 100, 400, 300]], with_masks=False)
    assert draw(grey(), found).size == (160, 120)


def test_long_names_are_cut_to_the_picture() -> None:
    found = make_detections([[5, 5, 30, 30]], size=(60, 60))
    long = Detections(**{**vars(found), "labels": np.array([2])})
    picture = np.asarray(draw(grey((60, 60)), long))
    assert picture.shape == (60, 60, 3)


def test_labels_stay_inside_and_apart() -> None:
    taken: list[tuple[int, int, int, int]] = []
    for box in [(0, 0, 40, 40), (0, 0, 42, 42), (2, 1, 40, 44), (150, 110, 160, 120)]:
        place = _place_label(box, (30, 10), (160, 120), taken)
        assert place[0] >= 0
        assert place[1] >= 0
        assert place[2] <= 160
        assert place[3] <= 120
        assert not any(_overlap(place, other) for other in taken)
        taken.append(place)


def test_labels_leave_small_objects_visible() -> None:
    box = (50, 0, 58, 8)
    assert _overlap(_place_label(box, (30, 10), (160, 120), []), box) == 0


def test_any_pil_image_is_accepted_and_left_alone() -> None:
    image = Image.new("L", (160, 120), 128)
    picture = draw(image, make_detections([[10, 30, 60, 90]]))
    assert picture.mode == "RGB"
    assert image.getextrema() == (128, 128)


@pytest.mark.parametrize("image", [np.zeros((120, 160), dtype=np.uint8), np.zeros((120, 160, 3))])
def test_other_arrays_are_refused(image: np.ndarray) -> None:
    with pytest.raises(ShapeError, match=r"uint8 \(H, W, 3\)"):
        draw(image, make_detections([]))


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"160x121 pixels.* 160x120"):
        draw(grey((121, 160)), make_detections([]))


@pytest.mark.parametrize("mode", ["I;16", "F"])
def test_deep_images_are_drawn_as_they_were_looked_at(mode: str) -> None:
    ramp = np.linspace(0, 255, 160)[None].repeat(120, axis=0).round()
    values = (ramp * 257).astype(np.uint16) if mode == "I;16" else (ramp / 255).astype(np.float32)
    image = Image.fromarray(values)
    assert image.mode == mode
    picture = np.asarray(draw(image, make_detections([])))
    np.testing.assert_array_equal(picture[..., 1], ramp.astype(np.uint8))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_file_is_turned_as_its_objects_were_found(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    upright = read_image(path)
    nothing = make_detections([], size=upright.size[::-1])
    found = nothing.with_source(path=str(path))
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(found.draw(image)), np.asarray(upright))
    with Image.open(path) as image:  # Found in the PIL image, which is taken as it lies.
        lying = make_detections([], size=(40, 60))
        np.testing.assert_array_equal(np.asarray(lying.draw(image)), pixels)
    if orientation > 4:
        with pytest.raises(ShapeError, match="turned by their EXIF orientation"):
            found.draw(pixels)
