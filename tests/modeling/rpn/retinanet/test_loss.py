"""The losses of RetinaNet on three anchors, by hand, and their normalisers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.layers.boxes import encode_boxes
from maskrcnn_benchmark.modeling.rpn.retinanet import RetinaNetLoss
from maskrcnn_benchmark.structures.padded import PaddedTargets

# IoU with the target (0, 0, 9, 9) of the first image: 1, 0.45 (between the thresholds), 0.
ANCHORS = torch.tensor([[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 8.0, 4.0], [40.0, 40.0, 49.0, 49.0]])
WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def make_targets() -> PaddedTargets:
    """One box of class 2 in the first image; the anchors 0 and 2 in the second, of the classes 1 and 3."""
    boxes = torch.tensor([[[0.0, 0, 9, 9], [0, 0, 0, 0]], [[0, 0, 9, 9], [40, 40, 49, 49]]])
    return PaddedTargets(
        boxes=boxes,
        labels=torch.tensor([[2, 0], [1, 3]]),
        valid=torch.tensor([[True, False], [True, True]]),
        seeds=torch.zeros(2, dtype=torch.int64),
    )


def compute(
    loss: RetinaNetLoss, logits: Tensor, deltas: Tensor, targets: PaddedTargets | None = None
) -> dict[str, Tensor]:
    """On two levels: two anchors, and one."""
    levels = [2, 1]
    result: dict[str, Tensor] = loss(
        ANCHORS, logits.split(levels, 1), deltas.split(levels, 1), targets or make_targets()
    )
    return result


def focal(p: float, *, positive: bool) -> float:
    if positive:
        return -0.25 * (1 - p) ** 2 * math.log(p)
    return -0.75 * p**2 * math.log(1 - p)


# With p = 1/2 everywhere. First image: anchor 0 positive of 3 classes, 1 ignored, 2 background; second: 0 and 2
# positive, 1 ignored.
ONE, NO = focal(0.5, positive=True), focal(0.5, positive=False)
SUMS = (ONE + 2 * NO + 3 * NO, 2 * (ONE + 2 * NO))


@pytest.mark.parametrize(
    ("normalizer", "expected"),
    [
        ("batch", sum(SUMS) / (3 + 2)),
        ("ema", sum(SUMS) / (0.9 * 100 + 0.1 * 3)),
        ("image", (SUMS[0] / 1 + SUMS[1] / 2) / 2),
    ],
)
def test_class_loss_by_hand(normalizer: Any, expected: float) -> None:
    loss = RetinaNetLoss(normalizer=normalizer)
    got = compute(loss, torch.zeros(2, 3, 3), torch.zeros(2, 3, 4))
    assert list(got) == ["loss_retina_cls", "loss_retina_reg"]
    assert got["loss_retina_cls"].item() == pytest.approx(expected, rel=1e-5)
    # All three positives lie on their targets.
    assert got["loss_retina_reg"].item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("normalizer", "expected"),
    [
        # Twice 0.5 apart on the first image, once 1 on the second; those of ignored anchors do not count.
        ("batch", (1.0 + 1.0) / (3 * 4.0)),
        ("ema", (1.0 + 1.0) / (0.9 * 100 + 0.1 * 3)),
        ("image", (1.0 / 1 + 1.0 / 2) / 2),
    ],
)
def test_box_loss_by_hand(normalizer: Any, expected: float) -> None:
    loss = RetinaNetLoss(normalizer=normalizer, beta=0.0)
    deltas = torch.zeros(2, 3, 4)
    deltas[0, 0, 0], deltas[0, 0, 3] = 0.5, -0.5
    deltas[1, 2, 1] = 1.0
    deltas[:, 1] = 7.0
    got = compute(loss, torch.zeros(2, 3, 3), deltas)
    assert got["loss_retina_reg"].item() == pytest.approx(expected, rel=1e-4)


def test_deltas_are_those_of_the_weights_and_beta_bends_the_loss() -> None:
    targets = make_targets()
    targets.boxes[0, 0] = torch.tensor([1.0, 0.0, 10.0, 9.0])
    wanted = encode_boxes(targets.boxes[0, :1], ANCHORS[:1], weights=WEIGHTS, offset=1.0)
    assert wanted[0].tolist() == pytest.approx([1.0, 0.0, 0.0, 0.0])
    got = compute(RetinaNetLoss(beta=0.11), torch.zeros(2, 3, 3), torch.zeros(2, 3, 4), targets)
    assert got["loss_retina_reg"].item() == pytest.approx((1.0 - 0.055) / 12, rel=1e-4)


@pytest.mark.parametrize("name", ["giou", "diou", "ciou"])
def test_box_losses_on_the_boxes_themselves(name: Any) -> None:
    loss = RetinaNetLoss(box_loss=name)
    right = compute(loss, torch.zeros(2, 3, 3), torch.zeros(2, 3, 4))["loss_retina_reg"]
    assert right.item() == pytest.approx(0.0, abs=1e-5)
    deltas = torch.zeros(2, 3, 4, requires_grad=True)
    moved = compute(loss, torch.zeros(2, 3, 3), deltas + 1.0)["loss_retina_reg"]
    assert moved.item() > 0.01
    (gradient,) = torch.autograd.grad(moved, deltas)
    assert not gradient[:, 1].any()
    assert gradient[1, 2].any()


def test_the_best_anchor_of_a_target_is_an_object_however_small_the_overlap() -> None:
    targets = make_targets()
    targets.boxes[0, 0] = torch.tensor([0.0, 0.0, 29.0, 29.0])
    # Anchor 0 overlaps by 0.11 and is the best; anchor 1 is now below both thresholds.
    got = compute(RetinaNetLoss(), torch.zeros(2, 3, 3), torch.zeros(2, 3, 4), targets)
    sums = (ONE + 2 * NO + 3 * NO + 3 * NO, SUMS[1])
    assert got["loss_retina_cls"].item() == pytest.approx(sum(sums) / 5, rel=1e-5)


def test_without_targets_all_anchors_are_background() -> None:
    targets = make_targets()
    targets.valid[:] = False
    logits = torch.zeros(2, 3, 3, requires_grad=True)
    deltas = torch.zeros(2, 3, 4, requires_grad=True)
    for normalizer, count in (("batch", 2), ("ema", 90.1), ("image", 2)):
        loss = RetinaNetLoss(normalizer=normalizer)  # type: ignore[arg-type]
        got = compute(loss, logits, deltas, targets)
        assert got["loss_retina_cls"].item() == pytest.approx(18 * NO / count, rel=1e-5)
        assert got["loss_retina_reg"].item() == 0.0
        gradients = torch.autograd.grad(sum(got.values()), (logits, deltas))
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_the_moving_average_moves_in_training_only_and_is_not_saved() -> None:
    loss = RetinaNetLoss(normalizer="ema")
    assert not loss.state_dict()
    inputs = (torch.zeros(2, 3, 3), torch.zeros(2, 3, 4))
    with torch.no_grad():
        compute(loss, *inputs)
    assert loss.positives_average.item() == 100.0
    compute(loss, *inputs)
    assert loss.positives_average.item() == pytest.approx(90.3)
    compute(loss, *inputs)
    assert loss.positives_average.item() == pytest.approx(0.9 * 90.3 + 0.3)
    other = RetinaNetLoss(normalizer="batch")
    compute(other, *inputs)
    assert other.positives_average.item() == 100.0
