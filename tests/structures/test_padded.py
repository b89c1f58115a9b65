"""Padded batches: what goes in comes out, and nothing else does."""

from __future__ import annotations

import pytest
import torch

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import Keypoints, PersonKeypoints
from maskrcnn_benchmark.structures.padded import (
    PaddedDetections,
    PaddedTargets,
    Proposals,
    detections_to_boxlists,
    proposals_to_boxlists,
)
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from maskrcnn_benchmark.structures.sizes import HeightWidth
from tests.pretended_gpu import pretended_gpu, read

SIZE = (20, 10)  # width, height
TRIANGLE = [1.0, 1.0, 8.0, 1.0, 8.0, 6.0]
SQUARE = [2.0, 2.0, 5.0, 2.0, 5.0, 5.0, 2.0, 5.0]


def target(
    boxes: list[list[float]],
    labels: list[int],
    *,
    masks: SegmentationMask | None = None,
    seed: int | None = None,
    mode: str = "xyxy",
) -> BoxList:
    result = BoxList(torch.tensor(boxes).reshape(-1, 4), SIZE, mode)
    result.add_field("labels", torch.tensor(labels, dtype=torch.int64))
    if masks is not None:
        result.add_field("masks", masks)
    result.sample_seed = seed
    return result


def test_targets_are_padded_to_the_longest() -> None:
    padded = PaddedTargets.from_boxlists(
        [
            target([[1.0, 2.0, 3.0, 4.0]], [5], seed=11),
            target([], [], seed=12),
            target([[0.0, 0.0, 9.0, 9.0], [1.0, 1.0, 2.0, 2.0]], [1, 2], seed=2**62 + 1),
        ],
        with_masks=False,
    )
    assert padded.boxes.tolist() == [
        [[1.0, 2.0, 3.0, 4.0], [0.0] * 4],
        [[0.0] * 4, [0.0] * 4],
        [[0.0, 0.0, 9.0, 9.0], [1.0, 1.0, 2.0, 2.0]],
    ]
    assert padded.labels.tolist() == [[5, 0], [0, 0], [1, 2]]
    assert padded.valid.tolist() == [[True, False], [False, False], [True, True]]
    assert padded.seeds.tolist() == [11, 12, 2**62 + 1]
    assert padded.masks is None


def test_a_batch_without_any_target_keeps_one_row() -> None:
    padded = PaddedTargets.from_boxlists([target([], []), target([], [])], with_masks=True)
    assert padded.boxes.shape == (2, 1, 4)
    assert not padded.valid.any()
    assert padded.masks is not None
    assert padded.masks.points.shape == (0, 2)
    assert padded.masks.instance_starts.tolist() == [0, 0, 0]


def test_boxes_are_converted_to_corners() -> None:
    given = target([[2.0, 3.0, 4.0, 5.0]], [1], mode="xywh")
    padded = PaddedTargets.from_boxlists([given], with_masks=False)
    assert padded.boxes[0, 0].tolist() == [2.0, 3.0, 5.0, 7.0]
    assert given.mode == "xywh"


def test_images_without_a_seed_draw_from_the_global_generator() -> None:
    targets = [target([], []), target([], [], seed=7), target([], [])]
    torch.manual_seed(1)
    first = PaddedTargets.from_boxlists(targets, with_masks=False).seeds
    torch.manual_seed(1)
    again = PaddedTargets.from_boxlists(targets, with_masks=False).seeds
    later = PaddedTargets.from_boxlists(targets, with_masks=False).seeds
    assert torch.equal(first, again)
    assert first[1] == later[1] == 7
    assert len({*first.tolist(), *later.tolist()}) == 5


def test_seeds_of_all_images_leave_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    PaddedTargets.from_boxlists([target([], [], seed=7)], with_masks=False)
    assert torch.equal(torch.get_rng_state(), state)


def test_polygons_are_packed_part_by_part() -> None:
    masks = SegmentationMask([[TRIANGLE, SQUARE], [[1.0, 1.0, 2.0, 2.0]]], SIZE)
    padded = PaddedTargets.from_boxlists(
        [
            target([[0.0, 0.0, 9.0, 9.0]], [1], masks=SegmentationMask([[SQUARE]], SIZE)),
            target([[0.0, 0.0, 9.0, 9.0]] * 2, [1, 1], masks=masks),
        ],
        with_masks=True,
    )
    packed = padded.masks
    assert packed is not None
    # Instances: the square, padding, triangle and square, nothing (too few points).
    assert packed.instance_starts.tolist() == [0, 1, 1, 3, 3]
    assert packed.part_starts.tolist() == [0, 4, 7, 11]
    assert packed.points.flatten().tolist() == SQUARE + TRIANGLE + SQUARE
    assert packed.windows.tolist() == [[-1] * 5] * 4
    assert packed.bits.numel() == 0


def test_bitmaps_are_cut_to_their_pixels() -> None:
    pixels = torch.zeros(3, 10, 20, dtype=torch.uint8)
    pixels[0, 2:4, 5:8] = torch.tensor([[1, 0, 1], [0, 1, 0]])
    pixels[2, 9, 19] = 1
    masks = SegmentationMask(pixels, SIZE, mode="mask")
    padded = PaddedTargets.from_boxlists(
        [target([[0.0, 0.0, 9.0, 9.0]] * 3, [1, 1, 1], masks=masks)], with_masks=True
    )
    packed = padded.masks
    assert packed is not None
    assert packed.windows.tolist() == [[5, 2, 3, 2, 0], [0, 0, 1, 1, 6], [19, 9, 1, 1, 7]]
    assert packed.bits.tolist() == [1, 0, 1, 0, 1, 0, 0, 1]
    assert packed.instance_starts.tolist() == [0, 0, 0, 0]


def test_moving_keeps_everything() -> None:
    masks = SegmentationMask([[SQUARE]], SIZE)
    given = [target([[0.0, 0.0, 9.0, 9.0]], [1], masks=masks, seed=3)]
    on_meta = PaddedTargets.from_boxlists(given, with_masks=True, device="meta")
    assert on_meta.masks is not None
    for tensor in (on_meta.boxes, on_meta.seeds, on_meta.masks.points, on_meta.masks.windows):
        assert tensor.device.type == "meta"
    plain = PaddedTargets.from_boxlists(given, with_masks=False)
    assert plain.to("cpu").masks is None
    assert torch.equal(plain.to("cpu").boxes, plain.boxes)


def test_a_missing_field_is_named_with_its_image() -> None:
    bare = BoxList(torch.zeros(1, 4), SIZE)
    with pytest.raises(ShapeError, match=r"targets\[1\].*'labels'"):
        PaddedTargets.from_boxlists([target([], []), bare], with_masks=False)
    with pytest.raises(ShapeError, match=r"targets\[0\].*'masks'.*\['labels'\]"):
        PaddedTargets.from_boxlists([target([[0.0] * 4], [1])], with_masks=True)
    # Where there is no box there is no mask to miss.
    PaddedTargets.from_boxlists([target([], [])], with_masks=True)


def test_a_field_of_another_length_is_named() -> None:
    given = target([[0.0] * 4] * 2, [1])
    with pytest.raises(ShapeError, match=r"targets\[0\]: 2 boxes, but 1 entries.*'labels'"):
        PaddedTargets.from_boxlists([given], with_masks=False)
    masks = SegmentationMask([[SQUARE]], SIZE)
    given = target([[0.0] * 4] * 2, [1, 1], masks=masks)
    with pytest.raises(ShapeError, match=r"2 boxes, but 1 entries.*'masks'"):
        PaddedTargets.from_boxlists([given], with_masks=True)


def test_detections_come_back_without_padding() -> None:
    detections = PaddedDetections(
        boxes=torch.arange(24.0).view(2, 3, 4),
        scores=torch.tensor([[0.9, 0.8, 0.0], [0.0, 0.0, 0.0]]),
        labels=torch.tensor([[3, 1, 0], [0, 0, 0]]),
        valid=torch.tensor([[True, True, False], [False, False, False]]),
        masks=torch.rand(2, 3, 7, 7),
    )
    sizes = [HeightWidth(10, 20), HeightWidth(30, 40)]
    first, second = detections_to_boxlists(detections, sizes)
    assert first.size == (20, 10)
    assert second.size == (40, 30)
    assert first.mode == "xyxy"
    assert first.bbox.tolist() == [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]
    assert first.get_field("labels").tolist() == [3, 1]
    torch.testing.assert_close(first.get_field("scores"), torch.tensor([0.9, 0.8]))
    assert detections.masks is not None
    assert torch.equal(first.get_field("mask"), detections.masks[0, :2, None])
    assert len(second) == 0
    assert second.get_field("mask").shape == (0, 1, 7, 7)
    without = detections_to_boxlists(detections._replace(masks=None), sizes)
    assert without[0].fields() == ["scores", "labels"]


def test_a_gpu_is_waited_for_once_per_image() -> None:
    proposals = (torch.rand(2, 3, 4), torch.rand(2, 3), torch.tensor([[True, False, True]] * 2))
    detections = (*proposals[:2], torch.ones(2, 3, dtype=torch.int64), proposals[2])
    sizes = [HeightWidth(10, 20), HeightWidth(30, 40)]
    with pretended_gpu() as gpu:
        masks, keypoints = gpu.put(torch.rand(2, 3, 7, 7)), gpu.put(torch.rand(2, 3, 5, 3))
        found = PaddedDetections(*gpu.put(list(detections)), masks=masks, keypoints=keypoints)
        boxlists = detections_to_boxlists(found, sizes)
        assert sum(gpu.waits.values()) == 2
        proposals_to_boxlists(Proposals(*gpu.put(list(proposals))), sizes)
        assert sum(gpu.waits.values()) == 4
    for image, boxlist in enumerate(boxlists):
        assert torch.equal(read(boxlist.bbox), proposals[0][image, [0, 2]])


def test_proposals_come_back_without_padding() -> None:
    proposals = Proposals(
        boxes=torch.arange(8.0).view(1, 2, 4),
        objectness=torch.tensor([[0.5, 0.0]]),
        valid=torch.tensor([[True, False]]),
    )
    (boxlist,) = proposals_to_boxlists(proposals, [HeightWidth(10, 20)])
    assert boxlist.bbox.tolist() == [[0.0, 1.0, 2.0, 3.0]]
    assert boxlist.get_field("objectness").tolist() == [0.5]
    assert boxlist.size == (20, 10)


def with_keypoints(found: BoxList, count: int = 3) -> BoxList:
    points = torch.arange(len(found) * count * 3.0).view(len(found), count, 3)
    found.add_field("keypoints", Keypoints(points, SIZE))
    return found


def test_keypoints_are_padded() -> None:
    boxlists = [
        with_keypoints(target([[1.0, 2.0, 3.0, 4.0]], [1])),
        # An image without objects need not have the field.
        target([], []),
        with_keypoints(target([[0.0, 0.0, 9.0, 9.0], [1.0, 1.0, 2.0, 2.0]], [1, 2])),
    ]
    padded = PaddedTargets.from_boxlists(boxlists, with_masks=False, with_keypoints=True)
    assert padded.keypoints is not None
    assert padded.keypoints.shape == (3, 2, 3, 3)
    assert torch.equal(padded.keypoints[0, 0].flatten(), torch.arange(9.0))
    assert torch.equal(padded.keypoints[2].flatten(), torch.arange(18.0))
    assert not padded.keypoints[0, 1].any()
    assert not padded.keypoints[1].any()
    assert PaddedTargets.from_boxlists(boxlists, with_masks=False).keypoints is None
    assert padded.to("cpu").keypoints is not None


def test_targets_without_keypoints_or_with_others_are_refused() -> None:
    lacking = target([[1.0, 2.0, 3.0, 4.0]], [1])
    with pytest.raises(ShapeError, match=r"targets\[0\]: .* field 'keypoints'"):
        PaddedTargets.from_boxlists([lacking], with_masks=False, with_keypoints=True)
    five = with_keypoints(target([[1.0, 2.0, 3.0, 4.0]], [1]), 5)
    with pytest.raises(ShapeError, match=r"as many keypoints per object, got \[3, 5\]"):
        PaddedTargets.from_boxlists(
            [with_keypoints(lacking), five], with_masks=False, with_keypoints=True
        )


@pytest.mark.parametrize(("count", "kind"), [(17, PersonKeypoints), (5, Keypoints)])
def test_found_keypoints_become_a_field(count: int, kind: type) -> None:
    keypoints, scores = torch.rand(2, 3, count, 3), torch.rand(2, 3, count)
    valid = torch.tensor([[True, True, False], [False] * 3])
    detections = PaddedDetections(
        torch.rand(2, 3, 4),
        torch.rand(2, 3),
        torch.ones(2, 3).long(),
        valid,
        keypoints=keypoints,
        keypoint_scores=scores,
    )
    full, empty = detections_to_boxlists(detections, [HeightWidth(10, 20), HeightWidth(8, 8)])
    field = full.get_field("keypoints")
    assert type(field) is kind
    assert field.size == full.size == (20, 10)
    assert torch.equal(field.keypoints, keypoints[0, :2])
    assert torch.equal(field.get_field("logits"), scores[0, :2])
    assert empty.get_field("keypoints").keypoints.shape == (0, count, 3)
    assert full.has_field("mask") is False
