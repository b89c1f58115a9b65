"""The cascade against its rule written out stage by stage and image by image."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.layers.boxes import box_iou, clip_boxes, decode_boxes, encode_boxes
from maskrcnn_benchmark.modeling.poolers import Rows
from maskrcnn_benchmark.modeling.roi_heads.cascade_head import (
    CascadeHead,
    CascadeStage,
    label_regions,
)
from maskrcnn_benchmark.modeling.roi_heads.sampling import RegionSampler
from maskrcnn_benchmark.structures.padded import PaddedTargets, Proposals
from tests.thin_cascade import DELTA_WEIGHTS, THRESHOLDS, thin_cascade_head

SIZES = torch.tensor([[90.0, 120.0], [96.0, 128.0]])
TARGETS = PaddedTargets(
    boxes=torch.tensor(
        [
            [[10.0, 10, 50, 60], [60, 30, 110, 80]],
            [[30.0, 20, 90, 70], [0, 0, 0, 0]],
        ]
    ),
    labels=torch.tensor([[1, 3], [2, 0]]),
    valid=torch.tensor([[True, True], [True, False]]),
    seeds=torch.tensor([5, 6]),
)
NO_TARGETS = PaddedTargets(
    torch.zeros(2, 1, 4),
    torch.zeros(2, 1).long(),
    torch.zeros(2, 1).bool(),
    torch.tensor([5, 6]),
)


def make_features() -> list[Tensor]:
    return [torch.randn(2, 16, 96 // s, 128 // s) for s in (4, 8, 16, 32)]


def make_proposals(count: int = 12) -> Proposals:
    """Around the targets and elsewhere; the last of image 1 are not real."""
    near = TARGETS.boxes[:, :1] + torch.randn(2, count // 2, 4) * 4
    corner = torch.rand(2, count - count // 2, 2) * 60
    far = torch.cat((corner, corner + 10 + torch.rand_like(corner) * 30), dim=2)
    valid = torch.ones(2, count, dtype=torch.bool)
    valid[1, -3:] = False
    return Proposals(torch.cat((near, far), dim=1), torch.rand(2, count), valid)


def run_stage(stage: CascadeStage, features: list[Tensor], boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, C) and deltas (N, 4) for boxes (N, 4) of the one image of the features."""
    rows = Rows.of(torch.ones(1, len(boxes), dtype=torch.bool))
    _, logits, deltas = stage(features, boxes[None], rows)
    return logits, deltas[:, 4:]


def test_detections_have_the_last_boxes_and_the_mean_scores() -> None:
    head, features, proposals = thin_cascade_head(), make_features(), make_proposals()
    with torch.no_grad():
        got = head(features, proposals, SIZES)
    assert got.valid.sum() > 10
    for image in range(2):
        maps = [feature[image : image + 1] for feature in features]
        boxes = proposals.boxes[image, proposals.valid[image]]
        total = torch.zeros(len(boxes), 4)
        with torch.no_grad():
            for stage, weights in zip(head.stages, DELTA_WEIGHTS, strict=True):
                logits, deltas = run_stage(stage, maps, boxes)
                total += logits.softmax(dim=1)
                boxes = decode_boxes(deltas, boxes, weights=weights)
                boxes = clip_boxes(boxes[None], SIZES[image : image + 1])[0]
        scores = total[:, 1:] / 3
        for box, score, label in zip(
            *(field[image][got.valid[image]] for field in got[:3]), strict=True
        ):
            row = int((boxes - box).abs().amax(dim=1).argmin())
            torch.testing.assert_close(boxes[row], box, rtol=1e-4, atol=1e-3)
            torch.testing.assert_close(scores[row, label - 1], score)
        # The best of all is among them.
        torch.testing.assert_close(got.scores[image].max(), scores.max())


def test_all_boxes_before_any_is_left_out() -> None:
    head, features, proposals = thin_cascade_head(), make_features(), make_proposals()
    with torch.no_grad():
        every = head.candidates(features, proposals, SIZES)
        found = head(features, proposals, SIZES)
    assert every.boxes.shape == (2, 12 * 3, 4)
    assert every.valid.sum() == proposals.valid.sum() * 3
    again = head.post_processor.filter(every)
    assert torch.equal(again.boxes, found.boxes)
    assert torch.equal(again.valid, found.valid)


def naive_losses(
    head: CascadeHead, features: list[Tensor], proposals: Proposals
) -> dict[str, float]:
    """With every region in the sample."""
    boxes = [
        torch.cat((proposals.boxes[i, proposals.valid[i]], TARGETS.boxes[i, TARGETS.valid[i]]))
        for i in range(2)
    ]
    losses = {}
    for number, stage in enumerate(head.stages):
        entropy, regression, count, moved = 0.0, 0.0, 0, []
        for image, own in enumerate(boxes):
            targets = TARGETS.boxes[image, TARGETS.valid[image]]
            overlap, index = box_iou(targets, own).max(dim=0)
            labels = TARGETS.labels[image][index]
            labels[overlap < THRESHOLDS[number]] = 0
            maps = [feature[image : image + 1] for feature in features]
            logits, deltas = run_stage(stage, maps, own)
            entropy += F.cross_entropy(logits, labels, reduction="sum").item()
            wanted = encode_boxes(targets[index], own, weights=DELTA_WEIGHTS[number])
            positive = labels > 0
            regression += F.smooth_l1_loss(
                deltas[positive], wanted[positive], reduction="sum", beta=1.0
            ).item()
            count += len(own)
            after = decode_boxes(deltas, own, weights=DELTA_WEIGHTS[number])
            moved.append(clip_boxes(after[None], SIZES[image : image + 1])[0])
        losses[f"loss_classifier_stage{number}"] = entropy / count
        losses[f"loss_box_reg_stage{number}"] = regression / count
        boxes = moved
    return losses


def test_losses_of_all_stages() -> None:
    head = thin_cascade_head()
    head.sampler = RegionSampler(batch_size_per_image=1000, positive_fraction=1.0)
    features, proposals = make_features(), make_proposals()
    with torch.no_grad():
        regions, (x, rows), losses = head.forward_training(features, proposals, TARGETS, SIZES)
        expected = naive_losses(head, features, proposals)
    assert list(losses) == list(expected)
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-4)
    assert all(value > 0 for value in expected.values())
    # What the mask head gets is of the first stage: the sample as it was drawn.
    assert regions.valid.sum() == 12 + 2 + 9 + 1
    assert len(x) == rows.valid.numel()
    sample = head.sampler(proposals, TARGETS)
    assert torch.equal(regions.boxes[regions.valid], sample.boxes[sample.valid])


def test_each_stage_counts_for_its_share_of_the_gradient() -> None:
    head, proposals = thin_cascade_head(), make_proposals()
    features = [feature.requires_grad_() for feature in make_features()]
    _, _, losses = head.forward_training(features, proposals, TARGETS, SIZES)
    scaled = torch.autograd.grad(sum(losses.values()), features)
    monolith = CascadeHead(stages=[head.stages[0]], sampler=head.sampler)  # type: ignore[list-item]
    _, _, first = monolith.forward_training(features, proposals, TARGETS, SIZES)
    alone = torch.autograd.grad(sum(first.values()), features)
    _, _, losses = head.forward_training(features, proposals, TARGETS, SIZES)
    share = torch.autograd.grad(
        losses["loss_classifier_stage0"] + losses["loss_box_reg_stage0"], features
    )
    assert scaled[0].any()
    for whole, part in zip(alone, share, strict=True):
        torch.testing.assert_close(part, whole / 3)


def test_stages_do_not_train_through_the_boxes() -> None:
    head, proposals = thin_cascade_head(), make_proposals()
    _, _, losses = head.forward_training(make_features(), proposals, TARGETS, SIZES)
    (losses["loss_classifier_stage2"] + losses["loss_box_reg_stage2"]).backward()
    moved = [any(p.grad is not None and p.grad.any() for p in s.parameters()) for s in head.stages]
    assert moved == [False, False, True]


def test_images_without_targets() -> None:
    head, proposals = thin_cascade_head(), make_proposals()
    regions, _, losses = head.forward_training(make_features(), proposals, NO_TARGETS, SIZES)
    assert not regions.labels.any()
    for name, loss in losses.items():
        assert loss.isfinite()
        assert (loss > 0) == ("classifier" in name)
    sum(losses.values()).backward()


def test_training_needs_the_image_sizes() -> None:
    with pytest.raises(ShapeError, match=r"expected image_sizes \(B, 2\)"):
        thin_cascade_head().forward_training(make_features(), make_proposals(), TARGETS)


@pytest.mark.parametrize(("threshold", "labels"), [(0.5, [1, 1, 0]), (0.7, [1, 0, 0])])
def test_labels_by_threshold(threshold: float, labels: list[int]) -> None:
    # The first target is 41 x 51: all of it, the upper 31 of 51 rows (0.61), a corner.
    boxes = torch.tensor([[[10.0, 10, 50, 60], [10, 10, 50, 40], [10, 10, 20, 20]]])
    one = PaddedTargets(
        *(getattr(TARGETS, name)[:1] for name in ("boxes", "labels", "valid", "seeds"))
    )
    valid = torch.tensor([[True, True, False]])
    regions = label_regions(boxes, valid, one, iou_threshold=threshold, offset=1.0)
    assert regions.labels.tolist() == [labels]
    assert torch.equal(regions.valid, valid)
    assert torch.equal(regions.boxes, boxes)
    assert regions.target_boxes[0, 0].tolist() == [10, 10, 50, 60]
