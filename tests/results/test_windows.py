from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as mask_util

from maskrcnn_benchmark.results.masks import decode_mask, empty_rle, encode_mask
from maskrcnn_benchmark.results.windows import (
    crop_rle,
    cut,
    decode_window,
    move_rle,
    run_lengths,
    unite,
)


def noise(height: int, width: int, share: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width)) < share


MASKS = [
    noise(13, 17, 0.5),
    noise(40, 30, 0.05),
    noise(300, 200, 0.001, seed=3),
    np.zeros((5, 4), dtype=bool),
    np.ones((5, 4), dtype=bool),
    np.kron(noise(4, 5, 0.5, seed=2), np.ones((50, 60), dtype=bool)),
]


@pytest.mark.parametrize("mask", MASKS)
def test_runs_are_those_of_the_columns(mask: np.ndarray) -> None:
    flat = np.concatenate(([False], mask.T.ravel()))
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]), mask.size)
    runs = run_lengths(encode_mask(mask))
    assert runs.tolist() == np.diff(ends, prepend=0).tolist()
    assert runs.sum() == mask.size


@pytest.mark.parametrize("mask", MASKS)
def test_windows_are_parts_of_the_whole(mask: np.ndarray) -> None:
    rle = encode_mask(mask)
    height, width = mask.shape
    for top, left, h, w in ((0, 0, height, width), (1, 2, 2, 1), (height - 1, width - 1, 1, 1)):
        window = decode_window(rle, top=top, left=left, height=h, width=w)
        np.testing.assert_array_equal(window, mask[top : top + h, left : left + w])
        cropped = crop_rle(rle, top=top, left=left, height=h, width=w)
        assert cropped == encode_mask(window)


@pytest.mark.parametrize("mask", MASKS)
def test_masks_move_into_a_larger_image(mask: np.ndarray) -> None:
    height, width = mask.shape
    moved = move_rle(encode_mask(mask), top=3, left=5, height=height + 4, width=width + 9)
    expected = np.zeros((height + 4, width + 9), dtype=bool)
    expected[3 : 3 + height, 5 : 5 + width] = mask
    assert moved == encode_mask(expected)
    top, left, window = cut(moved)
    assert window.sum() == mask.sum()
    if mask.any():
        assert window.any(axis=0).all() or window[:, 0].any()
        np.testing.assert_array_equal(
            expected[top : top + window.shape[0], left : left + window.shape[1]], window
        )


def test_masks_are_united() -> None:
    first, second = noise(9, 8, 0.2, seed=1), noise(9, 8, 0.2, seed=2)
    united = unite([encode_mask(first), encode_mask(second)])
    np.testing.assert_array_equal(decode_mask(united), first | second)
    assert unite([empty_rle(height=2, width=3)]) == empty_rle(height=2, width=3)


def test_large_images_cost_what_their_window_costs() -> None:
    rle = move_rle(
        encode_mask(np.ones((30, 20), dtype=bool)), top=9000, left=40000, height=50000, width=50000
    )
    assert mask_util.area(rle) == 600  # type: ignore[arg-type]
    window = decode_window(rle, top=8999, left=39999, height=32, width=22)
    assert window.sum() == 600
    assert not window[0].any()
