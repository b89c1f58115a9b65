"""Suppression against known answers and a plain reference, box by box."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.layers.nms import nms, nms_padded

# Known answers of the old project's operator.
BOXES = torch.tensor(
    [
        [10.0, 10, 50, 60],
        [11.0, 12, 48, 60],
        [8.0, 9, 40, 50],
        [100.0, 100, 150, 140],
        [99.0, 110, 155, 139],
    ]
)
SCORES = torch.tensor([0.5, 0.7, 0.6, 0.9, 0.8])


def greedy(
    boxes: np.ndarray, scores: np.ndarray, threshold: float, offset: float, inclusive: bool
) -> list[int]:
    """Kept indices, best first, ties in input order; float32 like the operator."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    kept: list[int] = []
    limit = np.float32(threshold)
    for i in order:
        for j in kept:
            overlap = pair_iou(boxes[j], boxes[i], offset)
            if overlap > limit or (inclusive and overlap == limit):
                break
        else:
            kept.append(i)
    return kept


def pair_iou(a: np.ndarray, b: np.ndarray, offset: float) -> np.float32:
    width = max(min(a[2], b[2]) - max(a[0], b[0]) + offset, 0.0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]) + offset, 0.0)
    area = [(c[2] - c[0] + offset) * (c[3] - c[1] + offset) for c in (a, b)]
    inter = np.float32(width * height)
    return inter / np.float32(sum(area) - width * height)


def padded_reference(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor,
    valid: Tensor,
    *,
    threshold: float,
    max_output: int,
    max_per_group: int,
    offset: float,
    inclusive: bool,
) -> list[list[int]]:
    result = []
    for image in range(len(boxes)):
        survivors: list[int] = []
        for group in groups[image].unique().tolist():
            mine = ((groups[image] == group) & valid[image]).nonzero().squeeze(1)
            kept = list(range(len(mine)))
            kept.sort(key=lambda i: -scores[image, mine[i]].item())
            if threshold > 0:
                kept = greedy(
                    boxes[image, mine].double().numpy(),
                    scores[image, mine].numpy(),
                    threshold,
                    offset,
                    inclusive,
                )
            kept = kept[:max_per_group] if max_per_group else kept
            survivors += [int(mine[i]) for i in kept]
        survivors.sort(key=lambda i: (-scores[image, i].item(), i))
        result.append(survivors[:max_output])
    return result


@pytest.mark.parametrize(
    ("threshold", "kept"),
    [
        (0.1, [1, 3]),
        (0.3, [1, 3]),
        (0.5, [1, 3]),
        (0.8, [1, 2, 3, 4]),
        (0.9, [0, 1, 2, 3, 4]),
    ],
)
def test_known_answers(threshold: float, kept: list[int]) -> None:
    assert nms(BOXES, SCORES, threshold).tolist() == kept


@pytest.mark.parametrize("height", [5, 7, 3])
def test_overlap_of_exactly_the_threshold(height: int) -> None:
    # `height` of ten rows in common: 0.5, and 0.7 and 0.3, which float32 does not hold exactly.
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 9.0, height - 1.0]])
    scores = torch.tensor([0.9, 0.8])
    threshold = height / 10
    assert nms(boxes, scores, threshold, inclusive=True).tolist() == [0]
    assert nms(boxes, scores, threshold, inclusive=False).tolist() == [0, 1]
    continuous = boxes + torch.tensor([0.0, 0.0, 1.0, 1.0])
    assert nms(continuous, scores, threshold, offset=0.0, inclusive=True).tolist() == [0]
    assert nms(continuous, scores, threshold, offset=0.0, inclusive=False).tolist() == [0, 1]


def test_result_is_in_input_order() -> None:
    boxes = torch.tensor([[0.0, 0, 5, 5], [20.0, 20, 25, 25], [40.0, 40, 45, 45]])
    assert nms(boxes, torch.tensor([0.1, 0.3, 0.2]), 0.5).tolist() == [0, 1, 2]


def test_no_boxes() -> None:
    kept = nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert kept.shape == (0,)
    assert kept.dtype == torch.int64


def random_case(generator: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Whole coordinates and few score levels, so that ties and exact thresholds do occur."""
    batch, count = int(generator.integers(1, 4)), int(generator.integers(1, 40))
    corner = generator.integers(0, 20, (batch, count, 2))
    size = generator.integers(0, 16, (batch, count, 2))
    boxes = torch.from_numpy(np.concatenate((corner, corner + size), axis=2)).float()
    scores = torch.from_numpy(generator.integers(1, 12, (batch, count)) / 12.0).float()
    groups = torch.from_numpy(generator.integers(0, 4, (batch, count)))
    valid = torch.from_numpy(generator.random((batch, count)) < 0.8)
    return boxes, scores, groups, valid


@pytest.mark.parametrize("inclusive", [True, False])
@pytest.mark.parametrize("offset", [1.0, 0.0])
def test_padded_batch_equals_the_plain_reference(offset: float, inclusive: bool) -> None:
    generator = np.random.default_rng(int(offset) * 2 + inclusive)
    for _ in range(60):
        boxes, scores, groups, valid = random_case(generator)
        if not offset:
            boxes[..., 2:] += 1  # an empty box has no overlap with itself
        threshold = float(generator.choice([0.0, 0.25, 1 / 3, 0.5, 0.7]))
        max_output = int(generator.integers(1, boxes.shape[1] + 1))
        max_per_group = int(generator.choice([0, 1, 3]))
        index, kept = nms_padded(
            boxes,
            scores,
            groups=groups,
            valid=valid,
            iou_threshold=threshold,
            max_output=max_output,
            max_per_group=max_per_group,
            offset=offset,
            inclusive=inclusive,
        )
        expected = padded_reference(
            boxes,
            scores,
            groups,
            valid,
            threshold=threshold,
            max_output=max_output,
            max_per_group=max_per_group,
            offset=offset,
            inclusive=inclusive,
        )
        assert index.shape == kept.shape == (len(boxes), max_output)
        assert [row[mask].tolist() for row, mask in zip(index, kept, strict=True)] == expected
        assert not index[~kept].any()
        # The real ones come first.
        assert (kept[:, 1:] <= kept[:, :-1]).all()


def test_groups_do_not_touch() -> None:
    boxes = torch.tensor([[[0.0, 0, 9, 9]] * 3])
    scores = torch.tensor([[0.9, 0.8, 0.7]])
    index, kept = nms_padded(
        boxes,
        scores,
        groups=torch.tensor([[0, 1, 0]]),
        valid=torch.ones(1, 3, dtype=torch.bool),
        iou_threshold=0.5,
        max_output=3,
    )
    assert index.tolist() == [[0, 1, 0]]
    assert kept.tolist() == [[True, True, False]]


def test_nothing_is_valid() -> None:
    index, kept = nms_padded(
        torch.rand(2, 5, 4),
        torch.rand(2, 5),
        groups=torch.zeros(2, 5, dtype=torch.int64),
        valid=torch.zeros(2, 5, dtype=torch.bool),
        iou_threshold=0.5,
        max_output=4,
    )
    assert index.tolist() == [[0] * 4] * 2
    assert not kept.any()


def test_an_image_is_not_touched_by_its_neighbours() -> None:
    generator = np.random.default_rng(7)
    cases = [c for c in (random_case(generator) for _ in range(40)) if c[0].shape[0] > 1]
    for boxes, scores, groups, valid in cases:
        batch = nms_padded(
            boxes, scores, groups=groups, valid=valid, iou_threshold=0.5, max_output=9
        )
        for image in range(len(boxes)):
            one = slice(image, image + 1)
            alone = nms_padded(
                boxes[one],
                scores[one],
                groups=groups[one],
                valid=valid[one],
                iou_threshold=0.5,
                max_output=9,
            )
            assert torch.equal(batch[0][one], alone[0])
            assert torch.equal(batch[1][one], alone[1])


def test_the_operator_is_well_defined_for_the_compiler() -> None:
    boxes, scores, groups, valid = random_case(np.random.default_rng(1))
    arguments = (boxes, scores, groups, valid, 0.5, 7, 2, 1.0, True)
    torch.library.opcheck(torch.ops.maskrcnn.nms_padded.default, arguments)


@pytest.mark.parametrize("most", [1, 5, 40])
@pytest.mark.parametrize("spread", [30.0, 3000.0])
def test_trying_the_best_first_changes_nothing(most: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(most)
    corner = torch.rand(1, 2000, 2, generator=generator) * spread
    boxes = torch.cat((corner, corner + 20), dim=2)
    # Many equal scores: the order among them is that of the input.
    scores = (torch.rand(1, 2000, generator=generator) * 20).round() / 20
    groups = torch.randint(0, 7, (1, 2000), generator=generator)
    valid = torch.rand(1, 2000, generator=generator) > 0.1
    arguments = {"groups": groups, "valid": valid, "iou_threshold": 0.5}
    index, kept = nms_padded(boxes, scores, max_output=most, **arguments)
    # With as many results as candidates all are tried at once.
    whole, whole_kept = nms_padded(boxes, scores, max_output=2000, **arguments)
    assert kept.sum() == min(most, int(whole_kept.sum()))
    assert torch.equal(index[kept], whole[0, : int(kept.sum())])
