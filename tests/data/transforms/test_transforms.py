"""The old transforms, against values and pixels recorded from them."""

import json
import random

import numpy as np
import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.data.transforms import (
    ColorJitter,
    Compose,
    Normalize,
    RandomHorizontalFlip,
    RandomVerticalFlip,
    Resize,
    ToTensor,
)
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

MEAN = (102.9801, 115.9465, 122.7717)


@pytest.fixture
def image() -> Image.Image:
    return Image.fromarray(np.random.RandomState(0).randint(0, 256, (6, 8, 3), dtype=np.uint8))


@pytest.fixture
def target() -> BoxList:
    return BoxList([[1, 2, 4, 5]], (8, 6))


@pytest.mark.parametrize(
    ("image_size", "expected"),
    [
        ((640, 480), (800, 1066)),
        ((1000, 333), (444, 1333)),
        ((333, 1000), (1333, 444)),
        ((427, 640), (1199, 800)),
        ((2000, 1201), (800, 1332)),
        ((100, 300), (1332, 444)),
        ((800, 1000), (1000, 800)),
    ],
)
def test_sizes_known_from_the_old_project(image_size, expected):
    assert Resize(800, 1333).get_size(image_size) == expected


@pytest.mark.parametrize(
    ("image_size", "expected"),
    [
        ((640, 480), (800, 1067)),
        ((1000, 333), (444, 1333)),
        ((427, 640), (1199, 800)),
        ((2000, 1201), (800, 1332)),
        ((500, 375), (800, 1067)),
        ((640, 640), (800, 800)),
        ((300, 100), (444, 1333)),
    ],
)
def test_size_rounded_to_the_nearest_pixel(
    image_size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert Resize(800, 1333, rule="detectron2").get_size(image_size) == expected
    assert "rule='detectron2'" in repr(Resize(800, 1333, rule="detectron2"))


def test_resize_draws_a_size_even_from_one():
    random.seed(0)
    Resize((20,), 100).get_size((8, 6))
    after_one = random.random()
    random.seed(0)
    random.choice((20,))
    assert random.random() == after_one
    sizes = {Resize((20, 30, 40), 100).get_size((8, 6)).height for _ in range(50)}
    assert sizes == {20, 30, 40}


def test_resize_moves_the_target_along(image, target):
    resized, moved = Resize(12, 100)(image, target)
    assert resized.size == (16, 12)
    assert moved.bbox.tolist() == [[2, 4, 8, 10]]
    reference = image.resize((16, 12), Image.Resampling.BILINEAR)
    assert np.array_equal(np.array(resized), np.array(reference))
    assert Resize(12, 100)(image).size == (16, 12), "without a target only the image"


@pytest.mark.parametrize(
    ("flip", "axis", "box"),
    [(RandomHorizontalFlip, 1, [3, 2, 6, 5]), (RandomVerticalFlip, 0, [1, 0, 4, 3])],
)
def test_flips(image, target, flip, axis, box):
    flipped, moved = flip(1.0)(image, target)
    assert np.array_equal(np.array(flipped), np.flip(np.array(image), axis))
    assert moved.bbox.tolist() == [box]
    same, kept = flip(0.0)(image, target)
    assert (same, kept) == (image, target)
    assert flip(1.0)(image)[1] is None
    random.seed(0)
    flip(0.0)(image, target)
    drawn = random.random()
    random.seed(0)
    random.random()
    assert random.random() == drawn, "a number is drawn also when nothing can happen"


def test_to_tensor_and_back_is_exact_for_all_values():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(np.stack((values, values.T, 255 - values), axis=2))
    tensor, _ = ToTensor()(image)
    assert tensor.dtype == torch.float32
    assert tensor.shape == (3, 16, 16)
    assert torch.equal(tensor[0], torch.from_numpy(values).float() / 255)
    bgr = Normalize((0, 0, 0), (1, 1, 1))(tensor)
    assert np.array_equal(bgr.numpy().transpose(1, 2, 0), np.array(image)[..., ::-1])
    assert ToTensor()(Image.fromarray(values))[0].shape == (1, 16, 16)


def test_normalise(image, target):
    tensor, _ = ToTensor()(image)
    given = tensor.clone()
    normalised, same = Normalize(MEAN, (1, 2, 4))(tensor, target)
    pixel = np.array(image)[2, 3].astype(np.float64)[::-1]
    assert normalised[:, 2, 3].numpy() == pytest.approx((pixel - MEAN) / [1, 2, 4], rel=1e-6)
    assert same is target
    assert torch.equal(tensor, given), "the given tensor is left as it is"
    plain = Normalize((0.5, 0.25, 0), (1, 1, 2), to_bgr255=False)(tensor)
    assert torch.equal(plain[2], tensor[2] / 2)


def test_colour_jitter_changes_colours_only(image, target):
    torch.manual_seed(0)
    jittered, same = ColorJitter(0.5, 0.5, 0.5, 0.2)(image, target)
    assert same is target
    assert jittered.size == image.size
    assert not np.array_equal(np.array(jittered), np.array(image))
    still, _ = ColorJitter()(image, target)
    assert np.array_equal(np.array(still), np.array(image))
    assert ColorJitter(None, None, None, None)(image, target)[0].size == image.size


def test_a_chain_with_and_without_target(image, target):
    target.add_field("masks", SegmentationMask([[[1, 2, 4, 2, 4, 5]]], (8, 6)))
    chain = Compose(
        [
            ColorJitter(),
            Resize(12, 20),
            RandomHorizontalFlip(1.0),
            ToTensor(),
            Normalize(MEAN, (1,)),
        ]
    )
    tensor, moved = chain(image, target)
    assert tensor.shape == (3, 12, 16)
    assert moved.size == (16, 12)
    assert moved.get_field("masks").size == (16, 12)
    assert torch.equal(chain(image), tensor)
    assert repr(chain).count("\n") == 6


@pytest.mark.shared_data
def test_pixels_and_boxes_recorded_from_the_old_project(shared):
    folder = shared / "reference/goldens/mask_rcnn_R_50_FPN"
    image = Image.open(folder / "image0.png").convert("RGB")
    entry = json.loads((folder / "targets.json").read_text())[0]
    chain = Compose([Resize(200, 333), ToTensor(), Normalize(MEAN, (1, 1, 1))])
    tensor, target = chain(image, BoxList(entry["boxes"], image.size))
    recorded = np.load(folder / "inference.npz")["im0_input"][0]
    assert np.array_equal(tensor.numpy(), recorded[:, : tensor.shape[1], : tensor.shape[2]])
    train = np.load(folder / "train.npz")
    assert np.allclose(target.bbox.numpy(), train["boxes0"])
