"""Losses of the box head against the rule written out region by region."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.ops import generalized_box_iou_loss

from maskrcnn_benchmark.layers.boxes import decode_boxes, encode_boxes
from maskrcnn_benchmark.modeling.poolers import Rows
from maskrcnn_benchmark.modeling.roi_heads.box_head import BoxHead, BoxPredictor
from maskrcnn_benchmark.modeling.roi_heads.sampling import RegionSampler
from maskrcnn_benchmark.structures.padded import PaddedTargets, Proposals

CLASSES = 5
WEIGHTS = (10.0, 10.0, 5.0, 5.0)


class BoxesAsFeatures(nn.Module):
    """Features that depend on the region alone."""

    out_channels = 4

    def forward(self, features: Sequence[Tensor], boxes: Tensor, rows: Rows) -> Tensor:
        return rows.take(boxes) / 50


def make_head(*, agnostic: bool = False, batch_size: int = 10**6) -> BoxHead:
    predictor = BoxPredictor(in_channels=4, num_classes=CLASSES, class_agnostic=agnostic)
    nn.init.normal_(predictor.bbox_pred.weight, std=0.3)
    nn.init.normal_(predictor.cls_score.weight, std=1.0)
    return BoxHead(
        feature_extractor=BoxesAsFeatures(),
        predictor=predictor,
        sampler=RegionSampler(batch_size_per_image=batch_size, positive_fraction=1.0),
        class_agnostic=agnostic,
    )


def make_batch() -> tuple[Proposals, PaddedTargets]:
    corner = torch.rand(2, 30, 2) * 40
    boxes = torch.cat((corner, corner + 10 + torch.rand(2, 30, 2) * 30), dim=2)
    proposals = Proposals(boxes, torch.rand(2, 30), torch.rand(2, 30) < 0.8)
    targets = PaddedTargets(
        boxes[:, :3] + torch.randn(2, 3, 4),
        torch.randint(1, CLASSES, (2, 3)),
        torch.tensor([[True, True, True], [True, True, False]]),
        torch.tensor([5, 6]),
    )
    return proposals, targets


@pytest.mark.parametrize("agnostic", [False, True])
def test_losses(agnostic: bool) -> None:
    head = make_head(agnostic=agnostic)
    proposals, targets = make_batch()
    regions, (x, rows), losses = head.forward_training([], proposals, targets)
    entropies, regression = [], 0.0
    for image, slot in regions.valid.nonzero().tolist():
        box, label = regions.boxes[image, slot], int(regions.labels[image, slot])
        logits, deltas = head.predictor(box[None] / 50)
        entropies.append(F.cross_entropy(logits, torch.tensor([label])))
        if label:
            column = 1 if agnostic else label
            wanted = encode_boxes(regions.target_boxes[image, slot], box, weights=WEIGHTS)
            size = (deltas[0, 4 * column : 4 * column + 4] - wanted).abs()
            regression = regression + torch.where(size < 1, size**2 / 2, size - 0.5).sum()
    # All proposals and targets that are real are in the sample.
    assert len(entropies) == proposals.valid.sum() + targets.valid.sum()
    assert list(losses) == ["loss_classifier", "loss_box_reg"]
    torch.testing.assert_close(losses["loss_classifier"], torch.stack(entropies).mean())
    torch.testing.assert_close(losses["loss_box_reg"], regression / len(entropies))
    assert x.shape[0] == rows.valid.shape[0]
    wanted_gradients = torch.autograd.grad(
        torch.stack(entropies).mean() + regression / len(entropies), head.predictor.parameters()
    )
    got = torch.autograd.grad(sum(losses.values()), head.predictor.parameters())
    torch.testing.assert_close(got, wanted_gradients)


def test_without_targets_only_the_classifier_learns() -> None:
    head = make_head(batch_size=8)
    proposals, targets = make_batch()
    targets.valid = torch.zeros_like(targets.valid)
    _, _, losses = head.forward_training([], proposals, targets)
    sum(losses.values()).backward()
    assert losses["loss_box_reg"].item() == 0.0
    assert losses["loss_classifier"].item() > 0
    assert head.predictor.bbox_pred.weight.grad is not None
    assert not head.predictor.bbox_pred.weight.grad.any()


def test_nothing_to_learn_from_at_all() -> None:
    head = make_head()
    proposals, targets = make_batch()
    targets.valid = torch.zeros_like(targets.valid)
    proposals = proposals._replace(valid=torch.zeros_like(proposals.valid))
    _, _, losses = head.forward_training([], proposals, targets)
    assert [loss.item() for loss in losses.values()] == [0.0, 0.0]
    sum(losses.values()).backward()
    assert all(not p.grad.any() for p in head.predictor.parameters() if p.grad is not None)


def test_detections_do_not_depend_on_padding() -> None:
    head = make_head().eval()
    proposals, _ = make_batch()
    sizes = torch.tensor([[80.0, 80.0], [80.0, 80.0]])
    expected = head([], proposals, sizes)
    boxes = torch.where(proposals.valid[..., None], proposals.boxes, torch.full((), 777.0))
    more = Proposals(
        *(
            torch.cat((field, torch.zeros_like(field[:, :5])), dim=1)
            for field in proposals._replace(boxes=boxes)
        )
    )
    got = head([], more, sizes)
    assert expected.valid.any()
    assert torch.equal(got.valid, expected.valid)
    for name in ("boxes", "scores", "labels"):
        torch.testing.assert_close(
            getattr(got, name)[got.valid], getattr(expected, name)[expected.valid]
        )


@pytest.mark.parametrize("agnostic", [False, True])
def test_loss_of_the_boxes_themselves(agnostic: bool) -> None:
    head = make_head(agnostic=agnostic)
    head.loss = "giou"
    proposals, targets = make_batch()
    regions, _, losses = head.forward_training([], proposals, targets)
    total, wider = torch.tensor(0.0), torch.tensor([0.0, 0.0, 1.0, 1.0])
    for image, slot in (regions.valid & (regions.labels > 0)).nonzero().tolist():
        box, label = regions.boxes[image, slot], int(regions.labels[image, slot])
        column = 1 if agnostic else label
        _, deltas = head.predictor(box[None] / 50)
        moved = decode_boxes(
            deltas[:, 4 * column : 4 * column + 4], box[None], weights=head.delta_weights
        )
        target = regions.target_boxes[image, slot][None]
        total = total + generalized_box_iou_loss(moved + wider, target + wider).sum()
    torch.testing.assert_close(losses["loss_box_reg"], total / regions.valid.sum())
    assert losses["loss_box_reg"] > 0


def test_beta_of_nothing_is_the_absolute_difference() -> None:
    head = make_head()
    proposals, targets = make_batch()
    head.beta = 1e-6
    _, _, nearly = head.forward_training([], proposals, targets)
    head.beta = 0.0
    _, _, losses = head.forward_training([], proposals, targets)
    torch.testing.assert_close(losses, nearly, rtol=1e-4, atol=1e-5)
