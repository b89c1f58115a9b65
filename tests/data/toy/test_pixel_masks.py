from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from maskrcnn_benchmark.data.toy.outlines import OUTLINES, Outline
from maskrcnn_benchmark.data.toy.pixel_masks import (
    Mask,
    Points,
    coverage_of,
    signed_area,
    trace_loops,
)


def as_mask(text: str) -> Mask:
    rows = text.split()
    return np.array([[letter == "#" for letter in row] for row in rows])


def filled(loops: list[Points], mask: Mask) -> Mask:
    """Fill loops by the even-odd rule with pycocotools, an independent reader of polygons."""
    result = np.zeros(mask.shape, dtype=np.uint8)
    for loop in loops:
        runs = coco_mask.frPyObjects([loop.reshape(-1).tolist()], *mask.shape)
        result ^= coco_mask.decode(coco_mask.merge(runs))
    return result.astype(np.bool_)


def test_coverage_of_a_rectangle_is_exact_in_quarters() -> None:
    corners = np.array([[1.0, 1.0], [3.5, 1.0], [3.5, 2.75], [1.0, 2.75]])
    coverage = coverage_of(Outline(parts=(corners,)), width=5, height=4)
    expected = np.zeros((4, 5))
    expected[1, 1:4] = [1, 1, 0.5]
    expected[2, 1:4] = [0.75, 0.75, 0.375]
    np.testing.assert_allclose(coverage, expected)


@pytest.mark.parametrize("name", list(OUTLINES))
def test_coverage_adds_up_to_the_area(name: str) -> None:
    outline = OUTLINES[name](np.random.default_rng(0)).placed(
        centre=(40.3, 30.8), radius=25.0, angle=0.4
    )
    area = sum(abs(signed_area(part)) for part in outline.parts)
    area -= sum(abs(signed_area(hole)) for hole in outline.holes)
    coverage = coverage_of(outline, width=80, height=60)
    assert float(coverage.sum()) == pytest.approx(area, rel=0.02)


def test_what_lies_outside_the_image_is_cut_off() -> None:
    corners = np.array([[-3.0, -2.0], [2.0, -2.0], [2.0, 1.0], [-3.0, 1.0]])
    outside = Outline(parts=(corners + 100.0,))
    coverage = coverage_of(Outline(parts=(corners,)), width=4, height=3)
    np.testing.assert_array_equal(coverage, [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert not coverage_of(outside, width=4, height=3).any()


def test_a_bar_is_traced_clockwise_with_four_corners() -> None:
    (loop,) = trace_loops(as_mask("..... .###. ....."))
    assert signed_area(loop) == 3.0
    assert {tuple(corner) for corner in loop.tolist()} == {(1, 1), (4, 1), (4, 2), (1, 2)}


def test_a_hole_is_traced_the_other_way() -> None:
    loops = trace_loops(as_mask("#### #..# ####"))
    assert sorted(signed_area(loop) for loop in loops) == [-2.0, 12.0]


def test_pixels_that_touch_at_a_corner_are_apart() -> None:
    loops = trace_loops(as_mask("#. .#"))
    assert [signed_area(loop) for loop in loops] == [1.0, 1.0]


def test_nothing_gives_no_loop() -> None:
    assert trace_loops(np.zeros((3, 4), dtype=np.bool_)) == []


@pytest.mark.parametrize("seed", range(12))
def test_traced_loops_fill_to_the_same_mask(seed: int) -> None:
    # Noise has every way in which pixels can touch, at the border too.
    mask = np.random.default_rng(seed).random((11, 17)) < 0.3 + 0.04 * seed
    loops = trace_loops(mask)
    assert sum(signed_area(loop) for loop in loops) == mask.sum()
    np.testing.assert_array_equal(filled(loops, mask), mask)
