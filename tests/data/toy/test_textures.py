from __future__ import annotations

import numpy as np
import pytest

from maskrcnn_benchmark.data.toy.textures import (
    draw_colour,
    draw_muted_colour,
    paint_background,
    paint_fill,
    smooth_noise,
)


@pytest.mark.parametrize("hue", [0.0, 0.36, 0.6])
@pytest.mark.parametrize("value", [0.0, 60.0, 128.0, 255.0])
def test_a_colour_differs_from_the_one_it_is_to_be_unlike(value: float, hue: float) -> None:
    rng = np.random.default_rng(0)
    beneath = np.full(3, value, dtype=np.float32)
    for _ in range(100):
        colour = draw_colour(rng, hue=hue, unlike=beneath)
        assert 0 <= colour.min() <= colour.max() <= 255
        assert np.linalg.norm(colour - beneath) >= 75


def test_muted_colours_are_less_saturated_than_those_of_objects() -> None:
    rng = np.random.default_rng(0)
    grey = np.full(3, 128.0, dtype=np.float32)
    muted = [draw_muted_colour(rng) for _ in range(50)]
    vivid = [draw_colour(rng, hue=0.3, unlike=grey) for _ in range(50)]
    assert max(1 - c.min() / c.max() for c in muted) < min(1 - c.min() / c.max() for c in vivid)


def test_noise_and_paint_have_the_size_asked_for() -> None:
    rng = np.random.default_rng(0)
    noise = smooth_noise(rng, height=3, width=50, cell=20)
    assert noise.shape == (3, 50)
    assert abs(noise).max() < 2
    for _ in range(20):  # Every pattern comes up.
        assert paint_background(rng, height=31, width=17).shape == (31, 17, 3)
        fill = paint_fill(rng, colour=np.full(3, 128.0, np.float32), height=1, width=1)
        assert fill.shape == (1, 1, 3)
        assert fill.dtype == np.float32


def test_backgrounds_are_textured_and_differ() -> None:
    means, spreads = [], []
    for seed in range(10):
        painted = paint_background(np.random.default_rng(seed), height=64, width=64)
        means.append(painted.mean(axis=(0, 1)))
        spreads.append(painted.std(axis=(0, 1)).max())
    assert np.std(means, axis=0).min() > 15
    assert min(spreads) > 2
