from __future__ import annotations

import math

import numpy as np
import pytest

from maskrcnn_benchmark.data.toy.outlines import OUTLINES, Outline
from maskrcnn_benchmark.data.toy.pixel_masks import signed_area

SHAPES = [
    (name, seed, OUTLINES[name](np.random.default_rng(seed)))
    for name in OUTLINES
    for seed in range(20)
]


def test_there_are_at_least_four_kinds() -> None:
    assert len(OUTLINES) >= 4


@pytest.mark.parametrize("name", list(OUTLINES))
def test_outlines_fill_the_unit_circle_but_stay_inside(name: str) -> None:
    for other, _, outline in SHAPES:
        if other == name:
            reach = max(float(np.hypot(*points.T).max()) for points in outline.parts)
            assert 0.9 < reach <= 1.0 + 1e-9


@pytest.mark.parametrize("name", list(OUTLINES))
def test_outlines_of_one_kind_differ_and_are_reproducible(name: str) -> None:
    first, again, other = (OUTLINES[name](np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.parts[0], again.parts[0])
    assert first.parts[0].shape != other.parts[0].shape or not np.allclose(
        first.parts[0], other.parts[0]
    )


def test_a_ring_has_a_hole_within_and_a_paw_has_parts_apart() -> None:
    for name, _, outline in SHAPES:
        if name == "ring":
            assert len(outline.holes) == 1
            assert 0 < abs(signed_area(outline.holes[0])) < abs(signed_area(outline.parts[0]))
        if name == "paw":
            assert len(outline.parts) in (4, 5)
            for index, part in enumerate(outline.parts):
                for later in outline.parts[index + 1 :]:
                    gaps = np.linalg.norm(part[:, None] - later[None], axis=-1)
                    assert gaps.min() > 0.03


def test_placing_turns_grows_and_moves() -> None:
    square = Outline(parts=(np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]),))
    placed = square.placed(centre=(10.0, 20.0), radius=3.0, angle=math.pi / 2)
    # A quarter turn takes (1, 0) to (0, 1): clockwise on a screen, where y points down.
    expected = [[10, 23], [7, 20], [10, 17], [13, 20]]
    np.testing.assert_allclose(placed.parts[0], expected, atol=1e-12)


@pytest.mark.parametrize("name", list(OUTLINES))
def test_placing_keeps_the_area_but_for_the_scale(name: str) -> None:
    outline = OUTLINES[name](np.random.default_rng(3))
    placed = outline.placed(centre=(5.0, -7.0), radius=4.0, angle=0.7)
    for before, after in zip(
        outline.parts + outline.holes, placed.parts + placed.holes, strict=True
    ):
        assert signed_area(after) == pytest.approx(16 * signed_area(before))
