from __future__ import annotations

import numpy as np
import pytest

from maskrcnn_benchmark.results.masks import decode_mask, encode_mask, encode_polygons
from maskrcnn_benchmark.results.outlines import polygon_of, polygons_of, simplify


def noise(height: int, width: int, share: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width)) < share


def disk(size: int, radius: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size / 2 + 0.5
    return x * x + y * y <= radius * radius


RING = disk(60, 25) & ~disk(60, 12) | disk(60, 5)
MASKS = [
    np.ones((1, 1), dtype=bool),
    np.ones((4, 7), dtype=bool),
    np.eye(5, dtype=bool),
    np.eye(5, dtype=bool)[::-1],
    ~np.eye(5, dtype=bool),
    disk(40, 15.3),
    RING,
    *(noise(12, 15, share, seed) for seed, share in enumerate((0.1, 0.3, 0.5, 0.7, 0.9))),
    *(noise(60, 50, 0.5, seed) for seed in range(5)),
]


def draw_again(polygons: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    flat = [polygon.ravel().tolist() for polygon in polygons]
    return decode_mask(encode_polygons(flat, height=shape[0], width=shape[1]))


@pytest.mark.parametrize("mask", MASKS)
def test_polygons_drawn_again_give_the_mask(mask: np.ndarray) -> None:
    mask = np.pad(mask, ((3, 2), (5, 1)))
    rle = encode_mask(mask)
    np.testing.assert_array_equal(draw_again(polygons_of(rle), mask.shape), mask)
    np.testing.assert_array_equal(draw_again([polygon_of(rle)], mask.shape), mask)


def test_a_rectangle_has_four_corners_in_clockwise_order() -> None:
    mask = np.zeros((9, 9), dtype=bool)
    mask[2:5, 3:8] = True
    (polygon,) = polygons_of(encode_mask(mask))
    assert polygon.tolist() == [[3, 2], [8, 2], [8, 5], [3, 5]]


def test_parts_are_polygons_of_their_own_unless_there_are_holes() -> None:
    mask = np.zeros((9, 20), dtype=bool)
    mask[1:4, 1:4] = mask[5:8, 10:19] = True
    assert len(polygons_of(encode_mask(mask))) == 2
    mask[6, 12] = False
    assert len(polygons_of(encode_mask(mask))) == 1


def test_no_pixel_gives_no_polygon() -> None:
    empty = encode_mask(np.zeros((4, 4), dtype=bool))
    assert polygons_of(empty) == []
    assert polygon_of(empty).shape == (0, 2)


def test_fewer_points_stay_near_the_outline() -> None:
    mask = np.pad(disk(200, 90), 5)
    rle = encode_mask(mask)
    (exact,), (rough,) = polygons_of(rle), polygons_of(rle, tolerance=1.0)
    assert len(rough) < len(exact) / 5
    again = draw_again([rough], mask.shape)
    assert (again & mask).sum() / (again | mask).sum() > 0.98
    assert len(simplify(exact, 1000.0)) >= 3
