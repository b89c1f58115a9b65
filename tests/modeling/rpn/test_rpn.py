"""Proposals against the rule written out image by image and level by level, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.modeling.rpn import RPN, AnchorGenerator, RPNHead
from maskrcnn_benchmark.modeling.rpn.loss import RPNLoss
from maskrcnn_benchmark.modeling.rpn.rpn import ProposalLimits
from maskrcnn_benchmark.numerics import NON_EMPTY
from maskrcnn_benchmark.structures.padded import PaddedTargets, Proposals

SIZES = torch.tensor([[60.0, 90.0], [64.0, 70.0]])  # height, width; padded to 64 x 96


def make_rpn(*, levels: int = 2, per_batch: bool = False, **options: float) -> RPN:
    strides = (8, 16)[-levels:]
    anchors = AnchorGenerator(sizes=(16, 32) if levels > 1 else (24, 48), strides=strides)
    limits = ProposalLimits(pre_nms=80, post_nms=25, total=30)
    head = RPNHead(in_channels=4, num_anchors=anchors.num_anchors_per_cell[0])
    for layer in (head.cls_logits, head.bbox_pred):
        torch.nn.init.normal_(layer.weight, std=0.6)
    torch.nn.init.normal_(head.conv.weight, std=0.3)
    # Where no feature is active all scores would be equal, and their order arbitrary.
    assert head.conv.bias is not None
    torch.nn.init.constant_(head.conv.bias, 2.0)
    return RPN(
        anchor_generator=anchors,
        head=head,
        train_limits=ProposalLimits(pre_nms=80, post_nms=25, total=30, per_batch=per_batch),
        test_limits=limits,
        **options,  # type: ignore[arg-type]
    )


def make_features(levels: int = 2) -> list[Tensor]:
    return [torch.randn(2, 4, 64 // s, 96 // s) for s in (8, 16)[-levels:]]


def decode(anchor: np.ndarray, delta: np.ndarray) -> list[float]:
    width, height = anchor[2] - anchor[0] + 1, anchor[3] - anchor[1] + 1
    x, y = anchor[0] + width / 2, anchor[1] + height / 2
    dx, dy, dw, dh = delta
    x, y = x + dx * width, y + dy * height
    width *= math.exp(min(dw, math.log(1000 / 16)))
    height *= math.exp(min(dh, math.log(1000 / 16)))
    return [x - width / 2, y - height / 2, x + width / 2 - 1, y + height / 2 - 1]


def iou(a: list[float], b: list[float]) -> float:
    width = max(min(a[2], b[2]) - max(a[0], b[0]) + 1, 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]) + 1, 0)
    area = sum((c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b))
    return width * height / (area - width * height)


def proposals_of_level(
    rpn: RPN, level: int, image: int, maps: tuple[Tensor, Tensor], limits: ProposalLimits
) -> list[tuple[float, list[float]]]:
    """(objectness, box), best first."""
    scores, deltas = (m[image].double().numpy() for m in maps)
    per_cell, rows, columns = scores.shape
    stride = rpn.anchor_generator.strides[level]
    cell = rpn.anchor_generator.cell_anchors[level].double().numpy()
    image_height, image_width = SIZES[image].tolist()
    candidates = []
    for number in range(per_cell):
        for y in range(rows):
            for x in range(columns):
                anchor = cell[number] + np.array([x, y, x, y]) * stride
                box = decode(anchor, deltas[4 * number : 4 * number + 4, y, x])
                limit = [image_width - 1, image_height - 1] * 2
                box = [min(max(v, 0.0), m) for v, m in zip(box, limit, strict=True)]
                candidates.append((1 / (1 + math.exp(-scores[number, y, x])), box))
    candidates.sort(key=lambda c: -c[0])
    kept: list[tuple[float, list[float]]] = []
    for score, box in candidates[: limits.pre_nms]:
        if box[2] - box[0] + 1 < rpn.min_size or box[3] - box[1] + 1 < rpn.min_size:
            continue
        if all(iou(box, other) < rpn.nms_threshold for _, other in kept):
            kept.append((score, box))
    return kept[: limits.post_nms]


def naive_proposals(
    rpn: RPN, features: list[Tensor], limits: ProposalLimits
) -> list[list[tuple[float, list[float]]]]:
    with torch.no_grad():
        objectness, deltas = rpn.head(features)
    result = []
    for image in range(2):
        found = []
        for level, maps in enumerate(zip(objectness, deltas, strict=True)):
            found += proposals_of_level(rpn, level, image, maps, limits)
        found.sort(key=lambda c: -c[0])
        result.append(found)
    if len(features) > 1:
        if limits.per_batch:
            worst = sorted(score for found in result for score, _ in found)[-limits.total]
            return [[c for c in found if c[0] >= worst] for found in result]
        return [found[: limits.total] for found in result]
    return result


def check(proposals: Proposals, expected: list[list[tuple[float, list[float]]]]) -> None:
    boxes, objectness, valid = proposals
    for image, rows in enumerate(expected):
        real = valid[image]
        assert real.sum() == len(rows)
        assert real[: len(rows)].all()
        torch.testing.assert_close(
            objectness[image, real], torch.tensor([score for score, _ in rows])
        )
        torch.testing.assert_close(
            boxes[image, real].double(),
            torch.tensor([box for _, box in rows], dtype=torch.float64),
            rtol=1e-4,
            atol=1e-3,
        )


@pytest.mark.parametrize("levels", [1, 2])
def test_proposals_in_inference(levels: int) -> None:
    rpn, features = make_rpn(levels=levels), make_features(levels)
    with torch.no_grad():
        proposals = rpn(features, SIZES)
    # The total of an image over all levels limits several levels, post_nms a single one.
    assert proposals.boxes.shape == (2, 30 if levels > 1 else 25, 4)
    check(proposals, naive_proposals(rpn, features, rpn.test_limits))


@pytest.mark.parametrize("per_batch", [False, True])
def test_proposals_in_training(per_batch: bool) -> None:
    rpn, features = make_rpn(per_batch=per_batch), make_features()
    features[0][1] *= 2  # the second image is the surer one
    objectness, deltas = rpn._predict(features)
    with torch.no_grad():
        proposals = rpn.propose(
            rpn.anchor_generator(features), objectness, deltas, SIZES, rpn.train_limits
        )
    check(proposals, naive_proposals(rpn, features, rpn.train_limits))
    counts = proposals.valid.sum(dim=1).tolist()
    if per_batch:
        assert sum(counts) == 30
        assert counts[0] < counts[1]
    else:
        assert counts == [30, 30]


def test_one_level_knows_no_limit_per_batch() -> None:
    rpn, features = make_rpn(levels=1, per_batch=True), make_features(1)
    objectness, deltas = rpn._predict(features)
    with torch.no_grad():
        proposals = rpn.propose(
            rpn.anchor_generator(features), objectness, deltas, SIZES, rpn.train_limits
        )
    check(proposals, naive_proposals(rpn, features, rpn.train_limits))


def test_small_proposals_are_dropped() -> None:
    rpn, features = make_rpn(min_size=12), make_features()
    with torch.no_grad():
        proposals = rpn(features, SIZES)
    check(proposals, naive_proposals(rpn, features, rpn.test_limits))
    extent = (proposals.boxes[..., 2:] - proposals.boxes[..., :2] + 1)[proposals.valid]
    assert extent.min() >= 12


def test_fewer_anchors_than_wanted() -> None:
    rpn = make_rpn()
    features = [torch.randn(2, 4, 2, 1), torch.randn(2, 4, 1, 1)]
    with torch.no_grad():
        proposals = rpn(features, torch.tensor([[16.0, 8.0]] * 2))
    assert proposals.boxes.shape == (2, 9, 4)
    assert proposals.valid.any(dim=1).all()


def test_predictions_are_in_the_order_of_the_anchors() -> None:
    rpn = make_rpn(levels=1)
    features = make_features(1)
    objectness, deltas = rpn._predict(features)
    with torch.no_grad():
        (scores,), (moves,) = rpn.head(features)
    per_cell, _, columns = scores.shape[1:]
    for number, y, x in ((0, 0, 0), (3, 1, 4), (5, 3, 5)):
        flat = (y * columns + x) * per_cell + number
        assert objectness[0][1, flat] == scores[1, number, y, x]
        assert torch.equal(deltas[0][1, flat], moves[1, 4 * number : 4 * number + 4, y, x])


def test_the_head_starts_as_detectron_filled_it() -> None:
    head = RPNHead(in_channels=64, num_anchors=3)
    assert list(head.state_dict()) == [
        f"{layer}.{part}"
        for layer in ("conv", "cls_logits", "bbox_pred")
        for part in ("weight", "bias")
    ]
    for layer in (head.conv, head.cls_logits, head.bbox_pred):
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.1)
        assert layer.bias is not None
        assert not layer.bias.any()


def test_proposals_train_nothing() -> None:
    rpn, features = make_rpn(), make_features()
    features = [feature.requires_grad_() for feature in features]
    proposals = rpn(features, SIZES)
    assert rpn.head.conv.weight.requires_grad
    targets = PaddedTargets(
        torch.tensor([[[5.0, 5.0, 40.0, 40.0]]] * 2),
        torch.ones(2, 1, dtype=torch.int64),
        torch.ones(2, 1, dtype=torch.bool),
        torch.tensor([1, 2]),
    )
    found, losses = rpn.forward_training(features, SIZES, targets)
    assert found is not None
    assert not found.boxes.requires_grad
    assert not found.objectness.requires_grad
    assert list(losses) == ["loss_objectness", "loss_rpn_box_reg"]
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.any() for p in rpn.parameters())
    without, same = rpn.forward_training(features, SIZES, targets, with_proposals=False)
    assert without is None
    torch.testing.assert_close(same, losses)
    assert proposals.valid.any()


def test_the_sampled_anchors_do_not_depend_on_the_padding() -> None:
    rpn = make_rpn()
    rpn.loss = RPNLoss(batch_size_per_image=24)
    targets = PaddedTargets(
        torch.tensor([[[5.0, 5.0, 30.0, 30.0], [40.0, 10.0, 60.0, 40.0]]]),
        torch.ones(1, 2, dtype=torch.int64),
        torch.ones(1, 2, dtype=torch.bool),
        torch.tensor([11]),
    )
    chosen = []
    for height, width in ((64, 96), (128, 160)):
        features = [torch.zeros(1, 4, height // s, width // s) for s in (8, 16)]
        anchors = torch.cat(rpn.anchor_generator(features))
        objectness = torch.zeros(1, len(anchors), requires_grad=True)
        losses = rpn.loss(
            anchors,
            rpn.anchor_generator.is_visible(anchors, torch.tensor([[60.0, 90.0]])),
            objectness,
            torch.zeros(1, len(anchors), 4),
            targets,
            numbers=rpn.anchor_generator.numbers(features),
        )
        (gradient,) = torch.autograd.grad(losses["loss_objectness"], objectness)
        chosen.append(sorted(anchors[gradient[0] != 0].tolist()))
    assert len(chosen[0]) == 24
    assert chosen[0] == chosen[1]


def test_one_limit_for_all_levels_at_once() -> None:
    """No limit for each level (post_nms 0), and the best by their logits."""
    rpn, features = make_rpn(), make_features()
    rpn.test_limits = ProposalLimits(pre_nms=80, post_nms=0, total=40)
    rpn.ranked_by = "logit"
    with torch.no_grad():
        proposals = rpn(features, SIZES)
    # The plain rule with a limit that no level reaches.
    limits = ProposalLimits(pre_nms=80, post_nms=80, total=40)
    check(proposals, naive_proposals(rpn, features, limits))
    unlimited = ProposalLimits(pre_nms=80, post_nms=80, total=1000)
    with torch.no_grad():
        rpn.test_limits = unlimited
        assert (rpn(features, SIZES).valid.sum(dim=1) > 40).all()


def test_one_level_without_a_limit_of_its_own() -> None:
    rpn, features = make_rpn(levels=1), make_features(1)
    rpn.test_limits = ProposalLimits(pre_nms=80, post_nms=0, total=12)
    with torch.no_grad():
        proposals = rpn(features, SIZES)
    assert proposals.valid.sum(dim=1).tolist() == [12, 12]


def test_logits_beyond_float32_probabilities_are_told_apart() -> None:
    rpn = make_rpn(levels=1)
    anchors = [torch.tensor([[10.0, 10, 30, 30], [40.0, 30, 60, 50], [60.0, 5, 80, 25]])]
    logits, deltas = [torch.tensor([[25.0, 40.0, 30.0]])], [torch.zeros(1, 3, 4)]
    limits = ProposalLimits(pre_nms=2, post_nms=0, total=2)
    rpn.ranked_by = "logit"
    proposals = rpn.propose(anchors, logits, deltas, SIZES[:1], limits)
    torch.testing.assert_close(proposals.boxes[0], anchors[0][[1, 2]])
    assert proposals.objectness.tolist() == [[1.0, 1.0]]
    assert proposals.valid.all()


def test_boxes_without_extent_can_be_dropped() -> None:
    rpn = make_rpn(levels=1, box_offset=0.0, min_size=NON_EMPTY)
    # The second lies outside: cut to the image it is a line.
    anchors = [torch.tensor([[10.0, 10, 30, 30], [95.0, 10, 120, 30]])]
    logits, deltas = [torch.tensor([[1.0, 2.0]])], [torch.zeros(1, 2, 4)]
    proposals = rpn.propose(anchors, logits, deltas, SIZES[:1], rpn.test_limits)
    assert proposals.valid.tolist() == [[True, False]]
    torch.testing.assert_close(proposals.boxes[0, 0], anchors[0][0])


def test_several_convolutions() -> None:
    head = RPNHead(in_channels=4, num_anchors=3, num_convs=2)
    assert [name for name in head.state_dict() if "conv." in name] == [
        "conv.0.weight",
        "conv.0.bias",
        "conv.1.weight",
        "conv.1.bias",
    ]
    feature = torch.randn(1, 4, 5, 6)
    (scores,), _ = head([feature])
    first, second = head.conv
    expected = head.cls_logits(second(first(feature).relu()).relu())
    torch.testing.assert_close(scores, expected)
