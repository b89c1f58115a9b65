from __future__ import annotations

import numpy as np
import pytest

from maskrcnn_benchmark.data.toy.scene import CLASS_NAMES, ToyScene, draw_scene


@pytest.fixture(scope="module")
def scenes() -> list[ToyScene]:
    return [draw_scene(np.random.default_rng([7, number])) for number in range(120)]


def test_a_scene_is_a_function_of_the_generator() -> None:
    first, again, other = (draw_scene(np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.image, again.image)
    assert [found.label for found in first.objects] == [found.label for found in again.objects]
    assert first.image.shape != other.image.shape or (first.image != other.image).any()


def test_no_pixel_belongs_to_two_objects(scenes: list[ToyScene]) -> None:
    for scene in scenes:
        owners = np.zeros(scene.image.shape[:2], dtype=int)
        for found in scene.objects:
            owners += found.visible
        assert owners.max() <= 1


def test_enough_of_every_object_is_seen(scenes: list[ToyScene]) -> None:
    for scene in scenes:
        for found in scene.objects:
            assert found.visible.sum() >= max(30, 0.4 * found.full_area)


def test_there_is_everything_a_detector_must_cope_with(scenes: list[ToyScene]) -> None:
    objects = [found for scene in scenes for found in scene.objects]
    labels = [found.label for found in objects if not found.is_crowd]
    areas = np.array([found.visible.sum() for found in objects])
    assert set(labels) == set(range(1, len(CLASS_NAMES) + 1))
    assert any(not scene.objects for scene in scenes)
    assert any(found.is_crowd for found in objects)
    assert any(not found.inside for found in objects)
    assert (areas < 100).any()
    assert (areas > 2000).any()
    hidden = [found for found in objects if not found.is_crowd and not found.is_whole]
    assert 0.15 < len(hidden) / len(objects) < 0.7
    sizes = {scene.image.shape for scene in scenes}
    assert len(sizes) > 60
    assert any(height > width for height, width, _ in sizes)
    assert any(height < width for height, width, _ in sizes)


def test_objects_stand_out_from_what_surrounds_them(scenes: list[ToyScene]) -> None:
    contrasts = []
    for scene in scenes:
        beyond = ~np.any([found.visible for found in scene.objects] or [[False]], axis=0)
        for found in scene.objects:
            inside = scene.image[found.visible].mean(axis=0)
            contrasts.append(np.linalg.norm(inside - scene.image[beyond].mean(axis=0)))
    assert np.median(contrasts) > 60
