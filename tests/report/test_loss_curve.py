from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark.errors import TrainingError
from maskrcnn_benchmark.report.loss_curve import draw_loss_curve
from maskrcnn_benchmark.results.palette import color_of

BLACK = (20, 20, 20)


def records(losses: list[float], *, step: int = 10) -> list[dict[str, Any]]:
    return [
        {"kind": "train", "iteration": step * number, "loss": 2 * loss, "loss_mask": loss, "lr": 1}
        for number, loss in enumerate(losses, start=1)
    ]


def pixels_like(picture: Image.Image, color: tuple[int, int, int]) -> Any:
    """Rows and columns of the pixels of a colour, the legend left out."""
    distance = np.abs(np.asarray(picture, dtype=int) - color).sum(axis=2)
    rows, columns = np.nonzero(distance < 30)
    return rows[rows > 100], columns[rows > 100]


def test_the_picture_has_the_size_asked_for() -> None:
    picture = draw_loss_curve(records([1.0, 0.5]), width=400, height=300)
    assert picture.size == (400, 300)
    assert picture.mode == "RGB"


def test_a_falling_loss_falls_and_equal_ratios_are_equal_heights() -> None:
    picture = draw_loss_curve(records([8.0, 4.0, 2.0, 1.0]))
    rows, columns = pixels_like(picture, color_of(0))
    # Means near each quarter of the axis, where the four points are.
    left, right = 64, 976
    heights = []
    for share in (0.25, 0.5, 0.75, 1.0):
        near = np.abs(columns - (left + share * (right - left))) <= 4
        heights.append(rows[near].mean())
    steps = np.diff(heights)
    assert (steps > 20).all()
    np.testing.assert_allclose(steps, steps.mean(), atol=3)


def test_the_total_is_drawn_black_and_above_its_part() -> None:
    picture = draw_loss_curve(records([1.0, 0.9, 0.8]))
    total_rows, _ = pixels_like(picture, BLACK)
    part_rows, _ = pixels_like(picture, color_of(0))
    assert total_rows.min() < part_rows.min()


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_a_value_that_cannot_be_drawn_leaves_a_gap(bad: float) -> None:
    whole = draw_loss_curve(records([1.0] * 9))
    broken = draw_loss_curve(records([1.0] * 4 + [bad] + [1.0] * 4))
    _, columns = pixels_like(whole, color_of(0))
    _, left = pixels_like(broken, color_of(0))
    missing = set(columns.tolist()) - set(left.tolist())
    assert 100 < len(missing) < 300
    assert min(missing) > 64 + 0.4 * 912
    assert max(missing) < 64 + 0.7 * 912


def test_one_record_and_records_of_other_kinds_are_fine() -> None:
    mixed = [
        {"kind": "test", "iteration": 5, "loss": 1000.0},
        *records([1.0]),
        {"kind": "train", "iteration": 20, "time": 0.1},
    ]
    alone, beside = draw_loss_curve(records([1.0])), draw_loss_curve(mixed)
    assert alone.tobytes() == beside.tobytes()
    rows, _ = pixels_like(alone, color_of(0))
    assert len(rows) > 4


@pytest.mark.parametrize("nothing", [[], [{"kind": "test", "loss": 1.0}], records([math.nan])])
def test_no_loss_is_an_error(nothing: list[dict[str, Any]]) -> None:
    with pytest.raises(TrainingError, match=f"got {len(nothing)} records"):
        draw_loss_curve(nothing)


def test_long_runs_and_small_losses_are_drawn() -> None:
    draw_loss_curve(records([1e-9, 3e-7, 2e4], step=90_000))
