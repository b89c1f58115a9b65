"""RPN losses against the rule written out anchor by anchor, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.ops import complete_box_iou_loss, distance_box_iou_loss, generalized_box_iou_loss

from maskrcnn_benchmark.layers.boxes import decode_boxes
from maskrcnn_benchmark.modeling.rpn.loss import RPNLoss
from maskrcnn_benchmark.structures.padded import PaddedTargets

ANCHORS = torch.tensor(
    [
        [0.0, 0.0, 9.0, 9.0],
        [0.0, 0.0, 9.0, 6.0],
        [0.0, 0.0, 9.0, 4.0],
        [20.0, 20.0, 39.0, 39.0],
        [22.0, 20.0, 41.0, 39.0],
        [60.0, 60.0, 69.0, 69.0],
        [0.0, 0.0, 9.0, 8.0],
    ]
)
# Image 0 has two targets, image 1 one.
BOXES = torch.tensor(
    [[[0.0, 0.0, 9.0, 9.0], [22.0, 20.0, 41.0, 37.0]], [[60.0, 60.0, 69.0, 65.0], [0.0] * 4]]
)
VALID = torch.tensor([[True, True], [True, False]])
TARGETS = PaddedTargets(BOXES, torch.ones(2, 2, dtype=torch.int64), VALID, torch.tensor([5, 6]))
# Of image 0 the last anchor is outside.
VISIBLE = torch.tensor([[True] * 6 + [False], [True] * 7])
# By hand: overlaps of image 0 are 1, .7, .5, high, best, 0, (invisible); of image 1 only anchor 5 touches.
LABELS = [[1, 1, -1, 1, 1, 0, -1], [0, 0, 0, 0, 0, 1, 0]]
MATCHED = [[0, 0, 0, 1, 1, 0, 0], [0] * 7]


def encode(target: list[float], anchor: list[float]) -> list[float]:
    (tw, th), (aw, ah) = ((b[2] - b[0] + 1, b[3] - b[1] + 1) for b in (target, anchor))
    return [
        (target[0] + tw / 2 - anchor[0] - aw / 2) / aw,
        (target[1] + th / 2 - anchor[1] - ah / 2) / ah,
        math.log(tw / aw),
        math.log(th / ah),
    ]


def naive_losses(objectness: Tensor, deltas: Tensor) -> dict[str, float]:
    """With every anchor that may be used in the sample."""
    entropy, regression, used = 0.0, 0.0, 0
    for image in range(2):
        for number, label in enumerate(LABELS[image]):
            if label < 0:
                continue
            used += 1
            logit = objectness[image, number].item()
            entropy += math.log1p(math.exp(-logit if label else logit))
            if label:
                wanted = encode(
                    BOXES[image, MATCHED[image][number]].tolist(), ANCHORS[number].tolist()
                )
                for got, value in zip(deltas[image, number].tolist(), wanted, strict=True):
                    size = abs(got - value)
                    regression += 4.5 * size**2 if size < 1 / 9 else size - 0.5 / 9
    return {"loss_objectness": entropy / used, "loss_rpn_box_reg": regression / used}


def test_losses_over_all_anchors() -> None:
    objectness = torch.randn(2, 7, dtype=torch.float64)
    deltas = torch.randn(2, 7, 4, dtype=torch.float64) * 0.1
    loss = RPNLoss(batch_size_per_image=1000, positive_fraction=1.0)
    got = loss(ANCHORS, VISIBLE, objectness, deltas, TARGETS)
    expected = naive_losses(objectness, deltas)
    assert {name: value.item() for name, value in got.items()} == pytest.approx(expected, rel=1e-6)


def test_only_the_sample_counts() -> None:
    objectness = torch.zeros(2, 7, requires_grad=True)
    deltas = torch.zeros(2, 7, 4, requires_grad=True)
    loss = RPNLoss(batch_size_per_image=4, positive_fraction=0.5)
    losses = loss(ANCHORS, VISIBLE, objectness, deltas, TARGETS)
    # Image 0: two positives and its only negative; image 1: its only positive and three negatives.
    assert losses["loss_objectness"].item() == pytest.approx(math.log(2))
    sum(losses.values()).backward()
    assert objectness.grad is not None
    chosen = objectness.grad != 0
    assert chosen.sum(dim=1).tolist() == [3, 4]
    labels = torch.tensor(LABELS)
    assert (labels[chosen] >= 0).all()
    assert ((labels == 1) & chosen).sum(dim=1).tolist() == [2, 1]
    # Each counts 1/7, whatever its image.
    torch.testing.assert_close(objectness.grad[chosen].abs(), torch.full((7,), 0.5 / 7))
    assert deltas.grad is not None
    moved = deltas.grad.any(dim=2)
    assert (moved <= (chosen & (labels == 1))).all()


def test_no_targets_at_all() -> None:
    nothing = PaddedTargets(
        torch.zeros(2, 1, 4),
        torch.zeros(2, 1).long(),
        torch.zeros(2, 1).bool(),
        torch.tensor([5, 6]),
    )
    objectness = torch.zeros(2, 7, requires_grad=True)
    deltas = torch.randn(2, 7, 4, requires_grad=True)
    losses = RPNLoss()(ANCHORS, VISIBLE, objectness, deltas, nothing)
    sum(losses.values()).backward()
    assert losses["loss_objectness"].item() == pytest.approx(math.log(2))
    assert losses["loss_rpn_box_reg"].item() == 0.0
    assert deltas.grad is not None
    assert not deltas.grad.any()
    assert objectness.grad is not None
    assert (objectness.grad[VISIBLE] > 0).all()


def test_no_anchor_visible() -> None:
    objectness, deltas = torch.zeros(2, 7), torch.zeros(2, 7, 4)
    losses = RPNLoss()(ANCHORS, torch.zeros(2, 7).bool(), objectness, deltas, TARGETS)
    assert {name: value.item() for name, value in losses.items()} == {
        "loss_objectness": 0.0,
        "loss_rpn_box_reg": 0.0,
    }


def test_padded_targets_change_nothing() -> None:
    objectness, deltas = torch.randn(2, 7), torch.randn(2, 7, 4)
    expected = RPNLoss()(ANCHORS, VISIBLE, objectness, deltas, TARGETS)
    more = PaddedTargets(
        torch.cat((BOXES, torch.full((2, 3, 4), 5.0)), dim=1),
        torch.ones(2, 5, dtype=torch.int64),
        torch.cat((VALID, torch.zeros(2, 3).bool()), dim=1),
        TARGETS.seeds,
    )
    torch.testing.assert_close(RPNLoss()(ANCHORS, VISIBLE, objectness, deltas, more), expected)


def test_divided_by_the_number_wanted() -> None:
    objectness, deltas = torch.randn(2, 7), torch.randn(2, 7, 4)
    options = {"batch_size_per_image": 1000, "positive_fraction": 1.0}
    sampled = RPNLoss(**options)(ANCHORS, VISIBLE, objectness, deltas, TARGETS)
    wanted = RPNLoss(**options, normalizer="wanted")(ANCHORS, VISIBLE, objectness, deltas, TARGETS)
    used = sum(label >= 0 for labels in LABELS for label in labels)
    for name, value in sampled.items():
        assert wanted[name].item() == pytest.approx(value.item() * used / 2000)


@pytest.mark.parametrize("name", ["giou", "diou", "ciou"])
def test_losses_of_the_boxes_themselves(name: str) -> None:
    theirs = {
        "giou": generalized_box_iou_loss,
        "diou": distance_box_iou_loss,
        "ciou": complete_box_iou_loss,
    }[name]
    objectness, deltas = torch.zeros(2, 7), torch.randn(2, 7, 4) * 0.3
    loss = RPNLoss(batch_size_per_image=1000, positive_fraction=1.0, loss=name, box_offset=1.0)
    got = loss(ANCHORS, VISIBLE, objectness, deltas, TARGETS)["loss_rpn_box_reg"]
    wider = torch.tensor([0.0, 0.0, 1.0, 1.0])
    total, used = 0.0, 0
    for image, labels in enumerate(LABELS):
        for number, label in enumerate(labels):
            used += label >= 0
            if label == 1:
                box = decode_boxes(
                    deltas[image, number][None], ANCHORS[number][None], weights=(1.0,) * 4
                )
                target = BOXES[image, MATCHED[image][number]][None]
                total += theirs(box + wider, target + wider).item()
    assert got.item() == pytest.approx(total / used, rel=1e-5)
