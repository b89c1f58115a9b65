import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from pycocotools import mask as mask_util

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.layers.masks import paste_masks
from maskrcnn_benchmark.results.masks import (
    decode_mask,
    empty_rle,
    encode_mask,
    encode_network_masks,
    encode_polygons,
    encode_predictions,
    encode_targets,
    encode_window,
    normalize_rle,
)
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from maskrcnn_benchmark.structures.sizes import HeightWidth


def random_mask(height: int, width: int, share: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width)) < share


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95, 1.0])
def test_encode_and_decode_give_the_mask_back(share: float) -> None:
    mask = random_mask(7, 11, share, seed=1)
    rle = encode_mask(mask)
    np.testing.assert_array_equal(decode_mask(rle), mask)
    assert json.loads(json.dumps(rle)) == rle
    assert rle["size"] == [7, 11]


def test_encode_wants_two_axes() -> None:
    with pytest.raises(ShapeError, match=r"\(H, W\), got \(1, 2, 3\)"):
        encode_mask(np.zeros((1, 2, 3), dtype=bool))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize(
    ("top", "left", "height", "width"),
    [(0, 0, 9, 12), (0, 3, 9, 4), (2, 0, 3, 12), (3, 5, 6, 7), (8, 11, 1, 1), (4, 4, 0, 0)],
    ids=["whole", "full height", "full width", "corner", "one pixel", "nothing"],
)
def test_a_window_encodes_like_the_whole_mask(
    top: int, left: int, height: int, width: int, share: float
) -> None:
    window = random_mask(height, width, share, seed=top + left)
    whole = np.zeros((9, 12), dtype=bool)
    whole[top : top + height, left : left + width] = window
    assert encode_window(window, top=top, left=left, height=9, width=12) == encode_mask(whole)


def test_predictions_encode_like_masks_pasted_in_full() -> None:
    generator = torch.Generator().manual_seed(3)
    masks = torch.rand((40, 14, 14), generator=generator)
    corners = torch.rand((40, 2), generator=generator) * 60 - 10
    boxes = torch.cat((corners, corners + torch.rand((40, 2), generator=generator) * 50), dim=1)
    boxes[0] = torch.tensor([20.0, 20, 20, 20])  # no extent
    boxes[1] = torch.tensor([-30.0, -30, -20, -20])  # outside
    boxes[2] = torch.tensor([-5.0, -5, 100, 100])  # larger than the image
    dense = paste_masks(masks, boxes, height=48, width=57)
    encoded = encode_predictions(masks, boxes, height=48, width=57)
    assert encoded == [encode_mask(mask.numpy()) for mask in dense]
    assert dense.any()


def test_no_predictions_give_no_masks() -> None:
    encoded = encode_predictions(torch.zeros(0, 28, 28), torch.zeros(0, 4), height=5, width=5)
    assert encoded == []


def test_threshold_is_strict() -> None:
    masks = torch.full((1, 4, 4), 0.5)
    box = torch.tensor([[2.0, 2, 9, 9]])
    (at,) = encode_predictions(masks, box, height=12, width=12, threshold=0.5)
    (below,) = encode_predictions(masks, box, height=12, width=12, threshold=0.49)
    assert not decode_mask(at).any()
    assert decode_mask(below).any()


def test_masks_pasted_by_the_network_are_scaled_like_boxes() -> None:
    pasted = torch.zeros((1, 1, 4, 6), dtype=torch.bool)
    pasted[0, 0, 1:3, 2:5] = True
    (same,) = encode_network_masks(
        pasted, torch.zeros(1, 4), image_size=HeightWidth(4, 6), threshold=0.5, padding=1
    )
    np.testing.assert_array_equal(decode_mask(same), pasted[0, 0].numpy())
    (twice,) = encode_network_masks(
        pasted, torch.zeros(1, 4), image_size=HeightWidth(8, 12), threshold=0.5, padding=1
    )
    expected = np.zeros((8, 12), dtype=bool)
    expected[2:6, 4:10] = True
    np.testing.assert_array_equal(decode_mask(twice), expected)


def test_polygons_of_one_object_are_united() -> None:
    parts = [[1, 1, 4, 1, 4, 4, 1, 4], [6, 1, 9, 1, 9, 4, 6, 4], [0, 0, 9, 9]]
    mask = decode_mask(encode_polygons(parts, height=10, width=10))
    expected = np.zeros((10, 10), dtype=bool)
    expected[1:4, 1:4] = True
    expected[1:4, 6:9] = True
    np.testing.assert_array_equal(mask, expected)


def test_too_few_points_hold_no_pixel() -> None:
    assert encode_polygons([[0, 0, 9, 9]], height=10, width=10) == empty_rle(height=10, width=10)
    assert not decode_mask(empty_rle(height=10, width=10)).any()


def test_every_form_of_rle_is_read() -> None:
    mask = random_mask(6, 5, 0.4, seed=0)
    compressed = mask_util.encode(np.asfortranarray(mask.astype(np.uint8)))
    flat = mask.T.ravel().astype(int)
    bounds = np.flatnonzero(np.diff(np.concatenate(([0], flat)))).tolist()
    counts = np.diff([0, *bounds, 30]).tolist()
    expected = encode_mask(mask)
    assert normalize_rle(compressed) == expected
    assert normalize_rle({"size": [6, 5], "counts": compressed["counts"].decode()}) == expected
    assert normalize_rle({"size": [6, 5], "counts": counts}) == expected


def test_targets_encode_whichever_way_they_are_kept() -> None:
    polygons = [[[1.0, 1, 8, 1, 8, 6, 1, 6]], [[2.0, 2, 5, 2, 5, 5], [6.0, 3, 9, 3, 9, 6, 6, 6]]]
    as_polygons = SegmentationMask(polygons, (12, 9), mode="poly")
    as_bitmaps = as_polygons.convert("mask")
    assert encode_targets(as_polygons) == encode_targets(as_bitmaps)
    assert [rle["size"] for rle in encode_targets(as_polygons)] == [[9, 12]] * 2


LARGE_IMAGE = """
import resource, sys, torch
from maskrcnn_benchmark.results.masks import encode_predictions

random = torch.Generator().manual_seed(0)
masks = torch.rand(500, 28, 28, generator=random)
corners = torch.rand(500, 2, generator=random) * 9000
boxes = torch.cat((corners, corners + torch.rand(500, 2, generator=random) * 1000), dim=1)
boxes[0] = torch.tensor([0.0, 0, 9999, 9999])
style = sys.argv[1]
encode_predictions(masks[-2:], boxes[-2:], height=10000, width=10000, style=style)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = encode_predictions(masks, boxes, height=10000, width=10000, style=style)
print(len(found), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
@pytest.mark.parametrize("style", ["integer", "grid"])
def test_many_masks_of_a_large_image_take_less_than_a_gigabyte(style: str) -> None:
    command = [sys.executable, "-c", LARGE_IMAGE, style]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    count, kilobytes = map(int, output.split())
    assert count == 500
    assert kilobytes < 0.8 * 2**20
