"""Areas and overlaps in whole pixels, with Cityscapes' edges."""

from __future__ import annotations

import numpy as np
import torch

from maskrcnn_benchmark.data.datasets.evaluation.cityscapes.matching import (
    match_boxes,
    match_masks,
)
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.masks import encode_mask
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from maskrcnn_benchmark.structures.sizes import HeightWidth

SIZE = HeightWidth(20, 30)
NAMES = ("__background__", "a", "b")


def rectangle(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[y1 : y2 + 1, x1 : x2 + 1] = True
    return mask


def make_targets(*boxes: tuple[int, int, int, int], mode: str = "mask") -> BoxList:
    targets = BoxList(torch.tensor(boxes).float().reshape(-1, 4), SIZE[::-1])
    targets.add_field("labels", torch.ones(len(boxes), dtype=torch.int64))
    masks = torch.from_numpy(np.array([rectangle(*box) for box in boxes])).reshape(-1, *SIZE)
    targets.add_field("masks", SegmentationMask(masks, SIZE[::-1], mode="mask").convert(mode))
    return targets


def make_detections(boxes: list[list[float]], masks: list[np.ndarray] | None) -> Detections:
    return Detections(
        image_size=SIZE,
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        scores=np.linspace(0.9, 0.5, len(boxes)),
        labels=np.ones(len(boxes), dtype=np.int64),
        class_names=NAMES,
        masks=None if masks is None else [encode_mask(mask) for mask in masks],
    )


def test_boxes_are_cut_to_whole_numbers_and_touching_is_no_overlap() -> None:
    targets = make_targets((2, 3, 11, 12))
    found = make_detections([[2.9, 3.9, 11.9, 12.9], [11, 3, 15, 12], [7, 3, 15, 12]], None)
    matches = match_boxes(targets, found)
    assert matches.target_areas.tolist() == [81]
    assert matches.areas.tolist() == [81, 36, 72]
    assert matches.intersections.tolist() == [[81, 0, 36]]
    np.testing.assert_allclose(matches.overlaps, [[1, 0, 36 / 117]])


def test_masks_count_inside_their_boxes_without_the_last_row_and_column() -> None:
    for mode in ("mask", "poly"):
        targets = make_targets((2, 3, 11, 12), mode=mode)
        found = make_detections([[2, 3, 11, 12]], [rectangle(2, 3, 11, 12)])
        matches = match_masks(targets, found)
        assert matches.target_areas.tolist() == [81]
        assert matches.areas.tolist() == [81]
        assert matches.intersections.tolist() == [[81]]


def test_the_common_pixels_are_counted_in_the_box_around_both() -> None:
    targets = make_targets((2, 3, 11, 12))
    # Row 12 of the target is outside its own box, but inside the common one.
    found = make_detections([[2, 3, 11, 16]], [rectangle(2, 3, 11, 16)])
    matches = match_masks(targets, found)
    assert matches.target_areas.tolist() == [81]
    assert matches.areas.tolist() == [9 * 13]
    assert matches.intersections.tolist() == [[90]]


def test_a_mask_without_pixels_shifts_nothing() -> None:
    targets = make_targets((2, 3, 11, 12), (15, 3, 24, 12))
    boxes = [[2.0, 3.0, 11.0, 12.0], [15.0, 3.0, 24.0, 12.0]]
    found = make_detections(boxes, [np.zeros(SIZE, dtype=bool), rectangle(15, 3, 24, 12)])
    matches = match_masks(targets, found)
    assert matches.areas.tolist() == [0, 81]
    assert matches.intersections.tolist() == [[0, 0], [0, 81]]
    assert matches.scores.tolist() == [np.float32(0.9), 0.5]


def test_nothing_there_and_nothing_found() -> None:
    found = make_detections([[2, 3, 11, 12]], [rectangle(2, 3, 11, 12)])
    for match in (match_boxes, match_masks):
        assert match(make_targets(), found).overlaps.shape == (0, 1)
        assert match(make_targets((2, 3, 11, 12)), make_detections([], [])).overlaps.shape == (1, 0)
