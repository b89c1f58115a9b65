from __future__ import annotations

import numpy as np
import pytest

from maskrcnn_benchmark.data.toy.annotations import CATEGORIES, annotate, decode_segmentation
from maskrcnn_benchmark.data.toy.outlines import Outline
from maskrcnn_benchmark.data.toy.pixel_masks import Mask, coverage_of
from maskrcnn_benchmark.data.toy.scene import CLASS_NAMES, ToyObject, draw_scene

TRIANGLE = np.array([[2.0, 1.0], [14.0, 3.0], [5.0, 9.5]])


def as_object(outline: Outline, *, inside: bool = True) -> ToyObject:
    visible = coverage_of(outline, width=16, height=12) >= 0.5
    area = int(visible.sum())
    return ToyObject(label=2, visible=visible, full_area=area, outline=outline, inside=inside)


def test_an_object_seen_whole_keeps_its_corners() -> None:
    found = as_object(Outline(parts=(TRIANGLE,)))
    entry = annotate(found, image_id=5, annotation_id=9)
    assert entry["segmentation"] == [TRIANGLE.reshape(-1).tolist()]
    assert (entry["id"], entry["image_id"], entry["category_id"], entry["iscrowd"]) == (9, 5, 2, 0)


def test_area_and_box_are_those_of_the_pixels() -> None:
    square = np.array([[3.0, 2.0], [7.0, 2.0], [7.0, 5.0], [3.0, 5.0]])
    entry = annotate(as_object(Outline(parts=(square,))), image_id=1, annotation_id=1)
    assert entry["bbox"] == [3, 2, 4, 3]
    assert entry["area"] == 12


def test_what_is_hidden_is_cut_out_exactly() -> None:
    found = as_object(Outline(parts=(TRIANGLE,)))
    found.visible[:, 6:8] = False
    entry = annotate(found, image_id=1, annotation_id=1)
    assert isinstance(entry["segmentation"], list)
    assert len(entry["segmentation"]) == 2
    decoded = decode_segmentation(entry["segmentation"], height=12, width=16)
    np.testing.assert_array_equal(decoded, found.visible)


@pytest.mark.parametrize("crowd", [False, True])
def test_holes_and_crowds_become_run_lengths(crowd: bool) -> None:
    outer = np.array([[0.0, 0.0], [9.0, 0.0], [9.0, 9.0], [0.0, 9.0]])
    found = as_object(Outline(parts=(outer,), holes=(outer / 3 + 3,)))
    if crowd:
        found.outline = None
    entry = annotate(found, image_id=1, annotation_id=1)
    assert entry["segmentation"]["size"] == [12, 16]
    assert entry["segmentation"]["counts"][0] == 0  # The first pixel is inside.
    assert entry["area"] == 81 - 9
    assert entry["iscrowd"] == int(crowd)
    decoded = decode_segmentation(entry["segmentation"], height=12, width=16)
    np.testing.assert_array_equal(decoded, found.visible)


def test_categories_are_the_classes_from_one() -> None:
    assert [(entry["id"], entry["name"]) for entry in CATEGORIES] == list(
        enumerate(CLASS_NAMES, start=1)
    )


def rim_length(mask: Mask) -> int:
    """Pixels of a mask that have a neighbour outside it."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return int((mask & ~inner).sum())


def test_annotations_decode_to_what_was_drawn() -> None:
    kinds = set()
    for number in range(60):
        scene = draw_scene(np.random.default_rng([1, number]))
        height, width = scene.image.shape[:2]
        for found in scene.objects:
            entry = annotate(found, image_id=1, annotation_id=1)
            segmentation = entry["segmentation"]
            kinds.add(type(segmentation))
            decoded = decode_segmentation(segmentation, height=height, width=width)
            differing = int((decoded ^ found.visible).sum())
            if found.is_whole and isinstance(segmentation, list):
                # Only the rim: pycocotools moves corners to the nearest fifth of a pixel.
                assert differing <= 2 + 0.25 * rim_length(found.visible)
            else:
                assert differing == 0
            assert entry["area"] == decoded.sum()
            x, y, w, h = entry["bbox"]
            assert decoded[y : y + h, x : x + w].sum() == decoded.sum()
            assert decoded[y, x : x + w].any()
            assert decoded[y : y + h, x].any()
            assert decoded[y + h - 1, x : x + w].any()
            assert decoded[y : y + h, x + w - 1].any()
    assert kinds == {list, dict}
