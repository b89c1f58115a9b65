"""Box losses against torchvision's, by hand, and by finite differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.ops import complete_box_iou_loss, distance_box_iou_loss, generalized_box_iou_loss

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.box_losses import (
    BoxLossName,
    box_regression_loss,
    ciou_loss,
    diou_loss,
    giou_loss,
)
from maskrcnn_benchmark.layers.boxes import encode_boxes

Loss = Callable[..., Tensor]
PAIRS = [
    (giou_loss, generalized_box_iou_loss),
    (diou_loss, distance_box_iou_loss),
    (ciou_loss, complete_box_iou_loss),
]
WEIGHTS = (10.0, 10.0, 5.0, 5.0)
NAMES: list[BoxLossName] = ["giou", "diou", "ciou"]


def random_boxes(*shape: int, least: float = 0.5) -> Tensor:
    corner = torch.rand(*shape, 2, dtype=torch.float64) * 20
    size = torch.rand(*shape, 2, dtype=torch.float64) * 20 + least
    return torch.cat((corner, corner + size), dim=-1)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_equal_torchvision(ours: Loss, theirs: Loss) -> None:
    predicted, target = random_boxes(200), random_boxes(200)
    # Some apart, some equal.
    target[:20] += 60
    target[20:30] = predicted[20:30]
    expected = theirs(predicted, target)
    torch.testing.assert_close(ours(predicted, target, offset=0.0), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_inclusive_corners_are_one_pixel_wider(ours: Loss, theirs: Loss) -> None:
    predicted, target = random_boxes(3, 50), random_boxes(3, 50)
    wider = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    expected = theirs(predicted + wider, target + wider)
    assert expected.shape == (3, 50)
    torch.testing.assert_close(ours(predicted, target, offset=1.0), expected, rtol=1e-9, atol=1e-9)


def test_by_hand() -> None:
    # Two unit squares side by side with a gap of one: hull 3 x 1, centres 2 apart, diagonal squared 10.
    first, second = torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([2.0, 0.0, 3.0, 1.0])
    assert giou_loss(first, second, offset=0.0).item() == pytest.approx(1 + 1 / 3)
    assert diou_loss(first, second, offset=0.0).item() == pytest.approx(1.4)
    assert ciou_loss(first, second, offset=0.0).item() == pytest.approx(1.4)
    # Inclusive: two by two pixels each, overlapping in none, hull 4 x 2.
    assert giou_loss(first, second, offset=1.0).item() == pytest.approx(1.0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_gradients(name: BoxLossName, offset: float) -> None:
    proposals, targets = random_boxes(2, 4), random_boxes(2, 4)
    deltas = (torch.randn(2, 4, 4, dtype=torch.float64) * 0.3).requires_grad_()
    mask = torch.tensor([[True, True, False, True], [True, False, True, True]])

    def loss(values: Tensor) -> Tensor:
        return box_regression_loss(
            name, values, proposals, targets, mask, weights=WEIGHTS, beta=0.0, offset=offset
        )

    if name == "ciou":
        # Its weight is no part of the gradient, so differences of the value do not show it: that of the parts does.
        loss(deltas).backward()
        assert deltas.grad is not None
        assert deltas.grad.isfinite().all()
        assert (deltas.grad.any(dim=-1) == mask).all()
    else:
        assert torch.autograd.gradcheck(loss, (deltas,))


def test_gradient_of_ciou_is_torchvisions() -> None:
    ours = random_boxes(30).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    target = random_boxes(30)
    ciou_loss(ours, target, offset=0.0).sum().backward()
    complete_box_iou_loss(theirs, target, reduction="sum").backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["smooth_l1", *NAMES])
def test_rows_that_do_not_count_may_hold_anything(name: BoxLossName) -> None:
    proposals, targets = random_boxes(6).float(), random_boxes(6).float()
    deltas = torch.randn(6, 4)
    mask = torch.tensor([True, False, True, False, True, False])

    def loss(rows: Tensor, moved: Tensor) -> Tensor:
        return box_regression_loss(
            name, moved[rows], proposals[rows], targets[rows], mask[rows], weights=WEIGHTS, beta=0.1
        )

    expected = loss(torch.tensor([0, 2, 4]), deltas)
    deltas[1] = torch.inf
    targets[3] = torch.nan
    proposals[5] = 0.0
    deltas.requires_grad_()
    got = loss(torch.arange(6), deltas)
    torch.testing.assert_close(got, expected)
    got.backward()
    assert deltas.grad is not None
    assert deltas.grad[mask].isfinite().all()
    assert not deltas.grad[~mask].nan_to_num(nan=1.0).any()


@pytest.mark.parametrize("name", ["smooth_l1", *NAMES])
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_the_right_deltas_cost_nothing(name: BoxLossName, offset: float) -> None:
    proposals, targets = random_boxes(5), random_boxes(5)
    deltas = encode_boxes(targets, proposals, weights=WEIGHTS, offset=offset)
    mask = torch.ones(5, dtype=torch.bool)
    loss = box_regression_loss(
        name, deltas, proposals, targets, mask, weights=WEIGHTS, beta=1.0, offset=offset
    )
    assert loss.item() == pytest.approx(0.0, abs=1e-6)


def test_beta_of_nothing_is_the_absolute_difference() -> None:
    proposals, targets = random_boxes(5), random_boxes(5)
    wanted = encode_boxes(targets, proposals, weights=WEIGHTS, offset=0.0)
    deltas = torch.randn(5, 4, dtype=torch.float64)
    mask = torch.tensor([True, True, False, True, True])
    loss = box_regression_loss(
        "smooth_l1", deltas, proposals, targets, mask, weights=WEIGHTS, beta=0.0, offset=0.0
    )
    torch.testing.assert_close(loss, (deltas - wanted)[mask].abs().sum())


@pytest.mark.parametrize("name", ["smooth_l1", *NAMES])
def test_one_sum_for_each_image(name: BoxLossName) -> None:
    proposals, targets = random_boxes(3, 5), random_boxes(3, 5)
    deltas, mask = torch.randn(3, 5, 4, dtype=torch.float64), torch.rand(3, 5) < 0.6

    def loss(rows: int | slice, *, per_image: bool) -> Tensor:
        return box_regression_loss(
            name,
            deltas[rows],
            proposals[rows],
            targets[rows],
            mask[rows],
            weights=WEIGHTS,
            beta=0.3,
            per_image=per_image,
        )

    expected = [loss(image, per_image=False) for image in range(3)]
    torch.testing.assert_close(loss(slice(None), per_image=True), torch.stack(expected))


def test_another_name_is_refused() -> None:
    boxes, mask = random_boxes(1), torch.ones(1, dtype=torch.bool)
    with pytest.raises(ConfigError, match="expected smooth_l1, giou, diou, ciou, got 'eiou'"):
        box_regression_loss("eiou", boxes, boxes, boxes, mask, weights=WEIGHTS, beta=1.0)  # type: ignore[arg-type]
