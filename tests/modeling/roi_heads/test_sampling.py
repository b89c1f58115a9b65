"""The proposals that train the heads: targets among them, labels, shares, padding."""

from __future__ import annotations

import torch
from torch import Tensor

from maskrcnn_benchmark.modeling.roi_heads.sampling import RegionSampler
from maskrcnn_benchmark.structures.padded import PaddedTargets, Proposals

SMALL, LARGE = [0.0, 0.0, 9.0, 9.0], [20.0, 20.0, 59.0, 59.0]
TARGETS = PaddedTargets(
    torch.tensor([[SMALL, LARGE], [LARGE, [0.0] * 4]]),
    torch.tensor([[3, 7], [2, 0]]),
    torch.tensor([[True, True], [True, False]]),
    torch.tensor([5, 6]),
)
BOXES = torch.tensor(
    [
        [0.0, 0.0, 9.0, 4.0],  # half of the small target
        [0.0, 0.0, 9.0, 3.0],  # less
        [20.0, 22.0, 59.0, 61.0],  # nearly the large one
        [100.0, 100.0, 120.0, 120.0],
        SMALL,  # not a real proposal
    ]
)
PROPOSALS = Proposals(
    BOXES.expand(2, 5, 4).clone(),
    torch.rand(2, 5),
    torch.tensor([[True, True, True, True, False]] * 2),
)


def rows(sampler: RegionSampler, image: int) -> list[tuple[list[float], int, list[float]]]:
    """(box, label, box of its target) of every chosen region."""
    found = sampler(PROPOSALS, TARGETS)
    return [
        (
            found.boxes[image, i].tolist(),
            int(found.labels[image, i]),
            found.target_boxes[image, i].tolist(),
        )
        for i in found.valid[image].nonzero().squeeze(1).tolist()
    ]


def test_labels_and_targets() -> None:
    sampler = RegionSampler(batch_size_per_image=100, positive_fraction=1.0)
    positives = [
        (BOXES[0].tolist(), 3, SMALL),
        (BOXES[2].tolist(), 7, LARGE),
        (SMALL, 3, SMALL),  # the targets themselves
        (LARGE, 7, LARGE),
    ]
    found = rows(sampler, 0)
    assert sorted(row for row in found if row[1]) == sorted(positives)
    assert sorted(box for box, label, _ in found if not label) == sorted(BOXES[[1, 3]].tolist())
    # Positives come first.
    assert [bool(label) for _, label, _ in found] == [True] * 4 + [False] * 2
    # In the other image the small target is not there, and the padded one is nobody.
    found = rows(sampler, 1)
    assert sorted(row for row in found if row[1]) == [
        (LARGE, 2, LARGE),
        (BOXES[2].tolist(), 2, LARGE),
    ]
    assert len(found) == 5


def test_between_the_thresholds_nothing_is_used() -> None:
    sampler = RegionSampler(
        fg_iou_threshold=0.6, bg_iou_threshold=0.45, batch_size_per_image=100, positive_fraction=1.0
    )
    boxes = [box for box, _, _ in rows(sampler, 0)]
    assert BOXES[0].tolist() not in boxes
    assert BOXES[1].tolist() in boxes
    assert len(boxes) == 5


def test_shares() -> None:
    sampler = RegionSampler(batch_size_per_image=4, positive_fraction=0.25)
    assert sampler.max_positives == 1
    found = sampler(PROPOSALS, TARGETS)
    assert found.valid.sum(dim=1).tolist() == [3, 4]
    assert ((found.labels > 0) & found.valid).sum(dim=1).tolist() == [1, 1]
    assert not (found.labels * found.valid)[:, 1:].any()


def test_positives_alone() -> None:
    found = RegionSampler(batch_size_per_image=8, positive_fraction=0.5)(PROPOSALS, TARGETS)
    positives = found.positives(4)
    assert positives.boxes.shape == (2, 4, 4)
    assert positives.valid.sum(dim=1).tolist() == [4, 2]
    assert (positives.labels[positives.valid] > 0).all()


def test_an_image_without_targets_trains_on_background() -> None:
    nothing = PaddedTargets(
        torch.zeros(2, 1, 4),
        torch.zeros(2, 1).long(),
        torch.zeros(2, 1).bool(),
        torch.tensor([5, 6]),
    )
    found = RegionSampler(batch_size_per_image=3)(PROPOSALS, nothing)
    assert found.valid.all()
    assert not found.labels.any()


def shuffled(tensors: tuple[Tensor | None, ...], order: Tensor) -> list[Tensor]:
    return [tensor[order] for tensor in tensors if tensor is not None]


def test_the_sample_of_an_image_does_not_depend_on_its_neighbours() -> None:
    boxes = torch.rand(3, 200, 2).repeat(1, 1, 2) * 80
    boxes[..., 2:] += 15
    proposals = Proposals(boxes, torch.rand(3, 200), torch.rand(3, 200) < 0.9)
    targets = PaddedTargets(
        boxes[:, :4] + 1, torch.ones(3, 4).long(), torch.rand(3, 4) < 0.7, torch.tensor([1, 2, 3])
    )
    sampler = RegionSampler(batch_size_per_image=32)
    together = sampler(proposals, targets)
    order = torch.tensor([2, 0])
    fewer = sampler(
        Proposals(*shuffled(proposals, order)),
        PaddedTargets(
            *shuffled((targets.boxes, targets.labels, targets.valid, targets.seeds), order)
        ),
    )
    for name, field in together._asdict().items():
        assert torch.equal(field[order], getattr(fewer, name))


def test_the_sample_does_not_depend_on_how_many_rows_are_padding() -> None:
    boxes = torch.rand(1, 50, 2).repeat(1, 1, 2) * 80
    boxes[..., 2:] += 15
    proposals = Proposals(boxes, torch.rand(1, 50), torch.ones(1, 50, dtype=torch.bool))
    targets = PaddedTargets(
        boxes[:, :4] + 1, torch.ones(1, 4).long(), torch.ones(1, 4).bool(), torch.tensor([1])
    )
    sampler = RegionSampler(batch_size_per_image=16)
    expected = sampler(proposals, targets)

    def pad(field: Tensor) -> Tensor:
        return torch.cat((field, torch.zeros_like(field[:, :2])), dim=1)

    got = sampler(
        Proposals(*(pad(field) for field in proposals)),
        PaddedTargets(pad(targets.boxes), pad(targets.labels), pad(targets.valid), targets.seeds),
    )
    assert torch.equal(got.boxes, expected.boxes)
    assert torch.equal(got.labels, expected.labels)
