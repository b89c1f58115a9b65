"""Objects that seams cut come back whole; neighbours stay apart."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from maskrcnn_benchmark.predict import Predictor
from maskrcnn_benchmark.predict.tiles import Picture, Tiling, Window, detect_in_tiles, move
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.keypoints import FoundKeypoints
from maskrcnn_benchmark.results.masks import box_around, decode_mask, encode_mask
from maskrcnn_benchmark.structures.keypoint import KeypointSchema
from maskrcnn_benchmark.structures.sizes import HeightWidth

from .conftest import MakeRun

NAMES = ("__background__", "red", "green")
# left, top, right, bottom (inclusive), class: within a tile, over one seam, over a corner, over many tiles, and two
# neighbours that touch, each over a seam.
OBJECTS = [
    (10, 10, 40, 30, 1),
    (80, 20, 130, 60, 1),
    (85, 88, 140, 135, 2),
    (20, 150, 420, 190, 1),
    (300, 60, 420, 95, 2),
    (300, 96, 420, 130, 2),
    (170, 230, 178, 238, 2),
]


def draw_objects() -> Image.Image:
    """A picture whose green channel numbers the objects, and whose red one tells the class."""
    image = Image.new("RGB", (450, 260))
    pen = ImageDraw.Draw(image)
    for number, (left, top, right, bottom, label) in enumerate(OBJECTS, start=1):
        pen.rectangle((left, top, right, bottom), fill=(label, number * 20, 0))
    return image


def find_drawn(parts: Iterable[Picture], *, with_masks: bool) -> Iterator[tuple[int, Detections]]:
    """Finds what is drawn, as far as a part shows it."""
    for index, part in enumerate(parts):
        pixels = np.asarray(part)
        masks, labels = [], []
        for number in np.unique(pixels[..., 1])[1:]:
            mask = pixels[..., 1] == number
            masks.append(encode_mask(mask))
            labels.append(int(pixels[mask][0, 0]))
        boxes = np.array([box_around(mask) for mask in masks], dtype=np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2] - 1
        yield (
            index,
            Detections(
                image_size=HeightWidth(*pixels.shape[:2]),
                boxes=boxes,
                # Larger parts are surer.
                scores=np.array([0.5 + min(0.4, mask_size(m) / 20000) for m in masks]),
                labels=np.array(labels),
                class_names=NAMES,
                masks=masks if with_masks else None,
            ),
        )


def mask_size(mask: object) -> int:
    return int(decode_mask(mask).sum())  # type: ignore[arg-type]


@pytest.mark.parametrize("overlap", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("with_masks", [True, False])
@pytest.mark.parametrize("side", [96, 128, 200])
def test_cut_objects_are_joined(side: int, with_masks: bool, overlap: float) -> None:
    image = draw_objects()
    found = detect_in_tiles(
        lambda parts: find_drawn(parts, with_masks=with_masks),
        image,
        Tiling(side=side, overlap=overlap),
    )
    expected = {(*map(float, box), label) for *box, label in OBJECTS}
    got = [(*box, label) for box, label in zip(found.boxes.tolist(), found.labels, strict=True)]
    assert set(got) == expected
    assert len(got) == len(OBJECTS)
    assert (np.diff(found.scores) <= 0).all()
    assert (found.masks is not None) == with_masks
    if with_masks:
        pixels = np.asarray(image)
        numbers = {box[:4]: number for number, box in enumerate(OBJECTS, start=1)}
        for box, mask in zip(found.boxes.astype(int).tolist(), found.dense_masks(), strict=True):
            np.testing.assert_array_equal(mask, pixels[..., 1] == numbers[tuple(box)] * 20)


@pytest.mark.parametrize(
    ("length", "side", "overlap"), [(100, 100, 0.2), (101, 100, 0.2), (1000, 96, 0), (777, 64, 0.5)]
)
def test_tiles_cover_everything_and_overlap_enough(length: int, side: int, overlap: float) -> None:
    windows = Tiling(side=side, overlap=overlap).windows(HeightWidth(40, length))
    assert {window.size for window in windows} == {HeightWidth(40, min(side, length))}
    assert windows[0].left == 0
    assert windows[-1].right == length
    for first, second in itertools.pairwise(windows):
        assert first.right - second.left >= round(side * overlap)


def test_a_small_image_is_not_cut() -> None:
    seen = []

    def detect(parts: Iterable[Picture]) -> Iterator[tuple[int, Detections]]:
        seen.extend(parts)
        yield from find_drawn(seen, with_masks=True)

    image = draw_objects()
    found = detect_in_tiles(detect, image, Tiling(side=450))
    assert seen == [image]
    assert len(found) == len(OBJECTS)


def test_a_fragment_that_lies_on_a_joined_object_is_left_out() -> None:
    """The left tile sees the object, and its right end once more; the right tile sees only the object."""

    def detect(parts: Iterable[Picture]) -> Iterator[tuple[int, Detections]]:
        boxes = [[[20, 10, 99, 59], [84, 12, 99, 57]], [[0, 10, 49, 59]]]
        scores = [[0.9, 0.6], [0.9]]
        for index, _ in enumerate(parts):
            yield (
                index,
                Detections(
                    image_size=HeightWidth(80, 100),
                    boxes=np.array(boxes[index]),
                    scores=np.array(scores[index]),
                    labels=np.ones(len(boxes[index])),
                    class_names=NAMES,
                ),
            )

    found = detect_in_tiles(detect, Image.new("RGB", (180, 80)), Tiling(side=100))
    assert found.boxes.tolist() == [[20, 10, 129, 59]]


def test_keypoints_move_with_their_tile() -> None:
    found = Detections(
        image_size=HeightWidth(50, 60),
        boxes=np.array([[1, 2, 3, 4]]),
        scores=np.array([0.5]),
        labels=np.array([1]),
        class_names=NAMES,
        keypoints=FoundKeypoints(
            points=np.array([[[1, 2, 1]]]), schema=KeypointSchema(names=("nose",))
        ),
    )
    moved = move(found, Window(top=10, left=100, bottom=60, right=160), HeightWidth(500, 600))
    assert moved.boxes.tolist() == [[101, 12, 103, 14]]
    assert moved.keypoints is not None
    assert moved.keypoints.points.tolist() == [[[101, 12, 1]]]
    assert found.keypoints is not None
    assert found.keypoints.points.tolist() == [[[1, 2, 1]]]


def test_a_network_sees_every_tile(make_run: MakeRun) -> None:
    torch.manual_seed(0)
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    image = noise.repeat(10, axis=0).repeat(10, axis=1)  # 200 x 300
    run = make_run()
    plain = Predictor(run, score_threshold=0.0)
    tiled = Predictor(run, score_threshold=0.0, tile=128, batch_size=4)
    found = tiled(image)
    assert found.image_size == (200, 300)
    assert found.masks is not None
    # At most 8 objects in each of 2 x 3 tiles.
    assert len(plain(image)) < len(found) <= 48
    assert found.boxes[:, 0].min() < 60
    assert found.boxes[:, 2].max() > 240
    for box, mask in zip(found.boxes, found.masks, strict=True):
        left, top, width, height = box_around(mask)
        if width:
            assert left >= box[0] - 8
            assert top + height <= box[3] + 9
    small = image[:100, :120]
    np.testing.assert_array_equal(tiled(small).boxes, plain(small).boxes)
    assert len(tiled([image, small])) == 2


def test_nothing_found_is_nothing(make_run: MakeRun) -> None:
    predictor = Predictor(make_run(), score_threshold=1.0, tile=64)
    found = predictor(np.zeros((100, 200, 3), dtype=np.uint8))
    assert len(found) == 0
    assert found.masks == []
    assert found.image_size == (100, 200)
