"""Samples as a function of the seed alone: counts, independence, uniformity."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.layers.sampling import (
    ANCHOR_STREAM,
    ROI_STREAM,
    Sample,
    random_keys,
    sample_labels,
)

SEEDS = torch.tensor([3, 2**62 + 5, 0])


def draw(
    labels: Tensor,
    seeds: Tensor,
    size: int,
    fraction: float = 0.25,
    stream: int = ANCHOR_STREAM,
) -> Sample:
    return sample_labels(labels, seeds, batch_size=size, positive_fraction=fraction, stream=stream)


def chosen(sample: Sample, image: int = 0) -> list[int]:
    return sample.indices[image][sample.valid[image]].tolist()


def random_labels(batch: int, count: int) -> Tensor:
    """Ignored, negative and positive ones, a third each."""
    return torch.randint(-1, 2, (batch, count))


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [
        (50, 100, (10, 30)),  # plenty of both
        (4, 100, (4, 36)),  # negatives fill what positives leave
        (50, 12, (10, 12)),  # but positives never take the place of negatives
        (0, 100, (0, 40)),
        (50, 0, (10, 0)),
        (2, 3, (2, 3)),
        (0, 0, (0, 0)),
    ],
)
def test_how_many_are_chosen(positives: int, negatives: int, expected: tuple[int, int]) -> None:
    labels = torch.tensor([3] * positives + [0] * negatives + [-1] * 20)
    labels = labels[torch.randperm(len(labels))][None]
    sample = draw(labels, SEEDS[:1], 40)
    picked = labels[0][chosen(sample)]
    assert ((picked > 0).sum(), (picked == 0).sum()) == expected
    assert len(set(chosen(sample))) == sum(expected)
    # Positives first, padding last and pointing at 0.
    assert picked.tolist() == sorted(picked.tolist(), reverse=True)
    assert sample.valid[0].tolist() == sorted(sample.valid[0].tolist(), reverse=True)
    assert not sample.indices[~sample.valid].any()
    assert sample.indices.shape == (1, min(40, labels.shape[1]))


def test_everything_is_chosen_where_enough_is_wanted() -> None:
    labels = random_labels(1, 60)
    sample = draw(labels, SEEDS[:1], 10**6, fraction=1.0)
    assert sorted(chosen(sample)) == (labels[0] >= 0).nonzero().squeeze(1).tolist()


def test_ignored_ones_are_never_chosen() -> None:
    for seed in range(50):
        labels = random_labels(2, 30)
        sample = draw(labels, torch.tensor([seed, seed + 1]), 25, fraction=0.5)
        for image in range(2):
            assert (labels[image][chosen(sample, image)] >= 0).all()


def test_an_image_draws_the_same_alone_and_anywhere_in_a_batch() -> None:
    labels = random_labels(3, 500)
    together = draw(labels, SEEDS, 64)
    order = torch.tensor([2, 0, 1])
    shuffled = draw(labels[order], SEEDS[order], 64)
    for place, image in enumerate(order.tolist()):
        alone = draw(labels[image : image + 1], SEEDS[image : image + 1], 64)
        assert chosen(alone) == chosen(together, image) == chosen(shuffled, place)


def test_a_candidate_is_drawn_by_its_number_not_its_place() -> None:
    labels = random_labels(1, 200)
    numbers = torch.randint(0, 2**32, (200,))
    options = {"batch_size": 30, "positive_fraction": 0.5, "stream": ANCHOR_STREAM}
    sample = sample_labels(labels, SEEDS[:1], numbers=numbers, **options)  # type: ignore[arg-type]
    # The same ones in another order, and others between them that cannot be chosen.
    order = torch.randperm(200)
    more = torch.cat((labels[:, order], torch.full((1, 50), -1)), dim=1)
    other = torch.cat((numbers[order], torch.randint(0, 2**32, (50,))))
    again = sample_labels(more, SEEDS[:1], numbers=other, **options)  # type: ignore[arg-type]
    assert numbers[chosen(sample)].tolist() == other[chosen(again)].tolist()


def test_the_draw_depends_on_seed_and_stream() -> None:
    labels = torch.zeros(1, 500, dtype=torch.int64)
    samples = [
        chosen(draw(labels, torch.tensor([seed]), 64, stream=stream))
        for seed in (0, 1, 2**32, 2**61)
        for stream in (ANCHOR_STREAM, ROI_STREAM)
    ]
    # Two independent samples of 64 of 500 share about 8.
    for number, sample in enumerate(samples):
        for other in samples[:number]:
            assert len(set(sample) & set(other)) < 25


def test_global_randomness_is_left_alone() -> None:
    state = torch.get_rng_state()
    first = draw(random_labels(1, 100), SEEDS[:1], 20)
    torch.set_rng_state(state)
    labels = random_labels(1, 100)
    torch.manual_seed(99)
    assert chosen(draw(labels, SEEDS[:1], 20)) == chosen(first)


def test_keys_are_spread_evenly() -> None:
    keys = random_keys(torch.arange(64), torch.arange(4096), stream=ANCHOR_STREAM)
    assert keys.min() >= 0
    assert keys.max() < 2**32
    # 99 degrees of freedom: more than 149 has a chance of 1 in 1000.
    for values in (keys, keys & 0xFFFF, keys[:, :64], keys[:1]):
        bins = torch.bincount(values.flatten() * 100 // (values.max() + 1), minlength=100)
        expected = values.numel() / 100
        assert ((bins - expected) ** 2 / expected).sum() < 149


def test_neighbouring_seeds_and_positions_are_uncorrelated() -> None:
    keys = random_keys(torch.arange(1000), torch.arange(1000), stream=ROI_STREAM).double()
    keys = (keys - keys.mean()) / keys.std()
    # The mean of a million products has a deviation of 0.001.
    assert (keys[1:] * keys[:-1]).mean().abs() < 0.004
    assert (keys[:, 1:] * keys[:, :-1]).mean().abs() < 0.004
    assert len(random_keys(torch.tensor([5]), torch.arange(1000), stream=1).unique()) > 990


@pytest.mark.parametrize("positive", [True, False])
def test_every_candidate_has_the_same_chance(positive: bool) -> None:
    trials, count, size = 6000, 40, 8
    labels = torch.full((trials, count), int(positive))
    sample = draw(labels, torch.arange(trials) * 7919, size, fraction=1.0)
    assert sample.valid.all()
    times = torch.bincount(sample.indices.flatten(), minlength=count).double()
    share = size / count
    variance = trials * share * (1 - share) * count / (count - 1)
    # 39 degrees of freedom: more than 73 has a chance of 1 in 1000.
    assert ((times - trials * share) ** 2 / variance).sum() < 73
    # Each place of the sample, too: a top-k is ordered by key, so the first one must be uniform as well.
    first = torch.bincount(sample.indices[:, 0], minlength=count).double()
    expected = trials / count
    assert ((first - expected) ** 2 / expected).sum() < 73
