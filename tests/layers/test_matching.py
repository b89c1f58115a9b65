"""Matching against the rule written out one pair at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.layers import matching
from maskrcnn_benchmark.layers.matching import (
    BELOW_LOW_THRESHOLD,
    BETWEEN_THRESHOLDS,
    match_boxes,
)


def pair_iou(a: np.ndarray, b: np.ndarray, offset: float) -> np.float32:
    width = max(min(a[2], b[2]) - max(a[0], b[0]) + offset, 0.0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]) + offset, 0.0)
    area = [(c[2] - c[0] + offset) * (c[3] - c[1] + offset) for c in (a, b)]
    inter = np.float32(width * height)
    return inter / np.float32(sum(area) - width * height)


def naive_match(
    targets: Tensor,
    candidates: Tensor,
    *,
    high: float,
    low: float,
    allow_low_quality: bool,
    offset: float,
) -> list[int]:
    """One image, real targets only."""
    if not len(targets):
        return [BELOW_LOW_THRESHOLD] * len(candidates)
    iou = np.array(
        [[pair_iou(t, c, offset) for c in candidates.numpy()] for t in targets.numpy()],
        dtype=np.float32,
    )
    matches = []
    for column in iou.T:
        best = int(column.argmax())
        if column[best] < np.float32(low):
            matches.append(BELOW_LOW_THRESHOLD)
        elif column[best] < np.float32(high):
            matches.append(BETWEEN_THRESHOLDS)
        else:
            matches.append(best)
    if allow_low_quality:
        for row in iou:
            for index in np.flatnonzero(row == row.max()):
                matches[index] = int(iou[:, index].argmax())
    return matches


def whole_boxes(generator: np.random.Generator, *shape: int) -> Tensor:
    """Whole coordinates, so that overlaps are exact and ties happen."""
    corner = generator.integers(0, 24, (*shape, 2))
    size = generator.integers(1, 14, (*shape, 2))
    return torch.from_numpy(np.concatenate((corner, corner + size), axis=-1)).float()


@pytest.mark.parametrize("pairs", [matching.MAX_PAIRS, 23])
@pytest.mark.parametrize("allow_low_quality", [True, False])
@pytest.mark.parametrize("offset", [1.0, 0.0])
def test_matches_equal_the_plain_rule(
    offset: float, allow_low_quality: bool, pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "MAX_PAIRS", pairs)
    generator = np.random.default_rng(3)
    for _ in range(25):
        batch, most, count = (int(generator.integers(1, n)) for n in (4, 6, 40))
        targets = whole_boxes(generator, batch, most)
        candidates = whole_boxes(generator, batch, count)
        valid = torch.from_numpy(generator.random((batch, most)) < 0.7)
        got = match_boxes(
            targets,
            valid,
            candidates,
            high_threshold=0.5,
            low_threshold=0.25,
            allow_low_quality=allow_low_quality,
            offset=offset,
        )
        assert got.shape == (batch, count)
        for image in range(batch):
            real = valid[image].nonzero().squeeze(1)
            expected = naive_match(
                targets[image, real],
                candidates[image],
                high=0.5,
                low=0.25,
                allow_low_quality=allow_low_quality,
                offset=offset,
            )
            expected = [int(real[m]) if m >= 0 else m for m in expected]
            assert got[image].tolist() == expected


def match(targets: list[list[float]], candidates: list[list[float]], **options: bool) -> list[int]:
    boxes = torch.tensor([targets])
    valid = torch.ones(1, len(targets), dtype=torch.bool)
    result = match_boxes(
        boxes,
        valid,
        torch.tensor(candidates),
        high_threshold=0.7,
        low_threshold=0.3,
        **options,
    )
    return result[0].tolist()


def test_thresholds_belong_to_the_better_side() -> None:
    target = [[0.0, 0.0, 9.0, 9.0]]
    rows = (6.0, 5.0, 2.0, 1.0)  # overlap 0.7, 0.6, 0.3, 0.2
    candidates = [[0.0, 0.0, 9.0, y] for y in rows]
    assert match(target, candidates) == [0, BETWEEN_THRESHOLDS, BETWEEN_THRESHOLDS, -1]


def test_the_best_candidates_of_a_target_match_below_the_thresholds() -> None:
    targets = [[0.0, 0.0, 9.0, 9.0]]
    candidates = [[0.0, 0.0, 9.0, 1.0], [0.0, 8.0, 9.0, 9.0], [0.0, 0.0, 9.0, 0.0]]
    assert match(targets, candidates) == [-1, -1, -1]
    # Two tie at 0.2.
    assert match(targets, candidates, allow_low_quality=True) == [0, 0, -1]


def test_a_low_quality_match_goes_to_the_candidates_own_best_target() -> None:
    # The only candidate is the best of both targets; it overlaps the first more.
    targets = [[0.0, 0.0, 9.0, 9.0], [20.0, 0.0, 29.0, 9.0]]
    candidates = [[5.0, 0.0, 22.0, 9.0]]
    assert match(targets, candidates, allow_low_quality=True) == [0]


def test_a_target_without_overlap_turns_all_it_does_not_touch_positive() -> None:
    # Detectron's quirk: the second target's best overlap is 0, which equals that of every candidate.
    targets = [[0.0, 0.0, 9.0, 9.0], [200.0, 200.0, 209.0, 209.0]]
    candidates = [[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 9.0, 1.0], [50.0, 50.0, 59.0, 59.0]]
    assert match(targets[:1], candidates, allow_low_quality=True) == [0, -1, -1]
    assert match(targets, candidates, allow_low_quality=True) == [0, 0, 0]


def test_padding_changes_nothing() -> None:
    generator = np.random.default_rng(5)
    targets, anchors = whole_boxes(generator, 2, 3), whole_boxes(generator, 50)
    valid = torch.tensor([[True, True, False], [False, False, False]])
    options = {"high_threshold": 0.7, "low_threshold": 0.3, "allow_low_quality": True}
    expected = match_boxes(targets, valid, anchors, **options)
    more = torch.cat((targets, whole_boxes(generator, 2, 4)), dim=1)
    padded = torch.cat((valid, torch.zeros(2, 4, dtype=torch.bool)), dim=1)
    assert torch.equal(match_boxes(more, padded, anchors, **options), expected)
    # An image without targets matches nothing.
    assert (expected[1] == BELOW_LOW_THRESHOLD).all()
    assert (expected[0] >= 0).any()


@pytest.mark.parametrize("pairs", [1, 17, 64])
def test_in_pieces_equals_at_once(monkeypatch: pytest.MonkeyPatch, pairs: int) -> None:
    generator = np.random.default_rng(6)
    targets, anchors = whole_boxes(generator, 2, 4), whole_boxes(generator, 61)
    valid = torch.tensor([[True] * 4, [True, False, True, False]])
    options = {"high_threshold": 0.5, "low_threshold": 0.3, "allow_low_quality": True}
    expected = match_boxes(targets, valid, anchors, **options)
    monkeypatch.setattr(matching, "MAX_PAIRS", pairs)
    assert torch.equal(match_boxes(targets, valid, anchors, **options), expected)
