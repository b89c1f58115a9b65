"""Soft suppression against a plain reference, box by box, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers import soft_nms as soft_nms_module
from maskrcnn_benchmark.layers.soft_nms import NmsName, soft_nms_padded

METHODS: list[NmsName] = ["soft_linear", "soft_gaussian"]


def pair_iou(a: list[float], b: list[float], offset: float) -> float:
    width = max(min(a[2], b[2]) - max(a[0], b[0]) + offset, 0.0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]) + offset, 0.0)
    area = sum((c[2] - c[0] + offset) * (c[3] - c[1] + offset) for c in (a, b))
    return width * height / (area - width * height)


def naive(
    boxes: list[list[float]],
    scores: list[float],
    *,
    method: NmsName,
    threshold: float,
    sigma: float,
    least: float,
    offset: float,
) -> list[tuple[int, float]]:
    """The paper's figure 3: (index, lowered score) of one group, in the order in which they are taken."""
    left = {index: score for index, score in enumerate(scores) if score > least}
    taken = []
    while left:
        best = max(left, key=lambda index: left[index])
        taken.append((best, left.pop(best)))
        for index in list(left):
            iou = pair_iou(boxes[best], boxes[index], offset)
            if method == "soft_gaussian":
                left[index] *= math.exp(-iou * iou / sigma)
            elif iou > threshold:
                left[index] *= 1 - iou
            if left[index] <= least:
                del left[index]
    return taken


def random_case(count: int = 40) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    corner = torch.rand(2, count, 2) * 30
    boxes = torch.cat((corner, corner + torch.rand(2, count, 2) * 30 + 5), dim=2)
    scores = torch.rand(2, count)
    groups = torch.randint(1, 4, (2, count))
    return boxes, scores, groups, torch.rand(2, count) > 0.2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("offset", [0.0, 1.0])
@pytest.mark.parametrize("max_output", [7, 40])
def test_equal_the_plain_reference(method: NmsName, offset: float, max_output: int) -> None:
    boxes, scores, groups, valid = random_case()
    index, lowered, kept = soft_nms_padded(
        boxes,
        scores,
        groups=groups,
        valid=valid,
        method=method,
        iou_threshold=0.3,
        sigma=0.4,
        score_threshold=0.1,
        max_output=max_output,
        offset=offset,
    )
    assert index.shape == lowered.shape == kept.shape == (2, max_output)
    for image in range(2):
        expected = []
        for group in (1, 2, 3):
            members = ((groups[image] == group) & valid[image]).nonzero().squeeze(1).tolist()
            found = naive(
                boxes[image, members].double().tolist(),
                scores[image, members].double().tolist(),
                method=method,
                threshold=0.3,
                sigma=0.4,
                least=0.1,
                offset=offset,
            )
            expected += [(members[i], score) for i, score in found]
        expected.sort(key=lambda pair: -pair[1])
        expected = expected[:max_output]
        real = kept[image]
        assert real.tolist() == [True] * len(expected) + [False] * (max_output - len(expected))
        assert index[image, real].tolist() == [i for i, _ in expected]
        assert lowered[image, real].tolist() == pytest.approx([s for _, s in expected], abs=1e-5)
        assert not index[image, ~real].any()
    # The case is worth something: scores were lowered, and some of them below the threshold.
    if max_output == 40:
        assert (lowered[kept] < scores.gather(1, index)[kept] - 0.05).any()
        assert kept.sum() < (valid & (scores > 0.1)).sum()


def test_by_hand() -> None:
    # The second overlaps the first by 1/3, the third nothing.
    boxes = torch.tensor([[[0.0, 0, 2, 2], [1, 0, 3, 2], [10, 10, 12, 12]]])
    scores, valid = torch.tensor([[0.9, 0.8, 0.7]]), torch.ones(1, 3, dtype=torch.bool)
    groups = torch.ones(1, 3, dtype=torch.int64)

    def lowered(method: NmsName, **options: float) -> tuple[list[int], list[float]]:
        index, values, _ = soft_nms_padded(
            boxes,
            scores,
            groups=groups,
            valid=valid,
            method=method,
            max_output=3,
            offset=0.0,
            **options,
        )
        return index[0].tolist(), values[0].tolist()

    order, values = lowered("soft_linear", iou_threshold=0.3)
    assert order == [0, 2, 1]
    assert values == pytest.approx([0.9, 0.7, 0.8 * 2 / 3])
    # At or below the threshold nothing is lowered; the Gaussian knows no threshold.
    assert lowered("soft_linear", iou_threshold=0.4)[1] == pytest.approx([0.9, 0.8, 0.7])
    order, values = lowered("soft_gaussian", sigma=0.5)
    assert order == [0, 2, 1]
    assert values == pytest.approx([0.9, 0.7, 0.8 * math.exp(-(1 / 9) / 0.5)])


def test_groups_do_not_touch() -> None:
    boxes = torch.tensor([[[0.0, 0, 9, 9]] * 3])
    scores = torch.tensor([[0.6, 0.9, 0.7]])
    index, lowered, _ = soft_nms_padded(
        boxes,
        scores,
        groups=torch.tensor([[1, 2, 5]]),
        valid=torch.ones(1, 3, dtype=torch.bool),
        method="soft_gaussian",
        max_output=3,
    )
    assert index.tolist() == [[1, 2, 0]]
    assert torch.equal(lowered, scores.gather(1, index))


def test_equal_scores_keep_their_order() -> None:
    boxes = torch.tensor([[[0.0, 0, 9, 9], [50.0, 0, 59, 9], [0.0, 50, 9, 59]]])
    index, _, _ = soft_nms_padded(
        boxes,
        torch.full((1, 3), 0.5),
        groups=torch.tensor([[2, 1, 2]]),
        valid=torch.ones(1, 3, dtype=torch.bool),
        method="soft_linear",
        max_output=3,
    )
    assert index.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("method", METHODS)
def test_boxes_without_extent(method: NmsName) -> None:
    index, lowered, kept = soft_nms_padded(
        torch.zeros(1, 2, 4),
        torch.tensor([[0.5, 0.4]]),
        groups=torch.ones(1, 2, dtype=torch.int64),
        valid=torch.ones(1, 2, dtype=torch.bool),
        method=method,
        max_output=2,
        offset=0.0,
    )
    assert index.tolist() == [[0, 1]]
    assert lowered.tolist() == [pytest.approx([0.5, 0.4])]
    assert kept.all()


def test_nothing_to_choose_from() -> None:
    boxes, scores, groups, _ = random_case()
    nothing = torch.zeros_like(groups, dtype=torch.bool)
    _, lowered, kept = soft_nms_padded(
        boxes, scores, groups=groups, valid=nothing, method="soft_linear", max_output=5
    )
    assert not kept.any()
    assert not lowered.any()


def test_another_name_is_refused() -> None:
    boxes, scores, groups, valid = random_case()
    with pytest.raises(ConfigError, match="expected one of soft_linear, soft_gaussian, got 'hard'"):
        soft_nms_padded(boxes, scores, groups=groups, valid=valid, method="hard", max_output=5)


def test_the_operator_is_well_defined_for_the_compiler() -> None:
    boxes, scores, groups, valid = random_case(12)
    arguments = (boxes, scores, groups, valid, True, 0.5, 0.5, 0.05, 7, 1.0)
    torch.library.opcheck(soft_nms_module._soft_nms_padded, arguments)
