"""The stream is what a plain loop makes of it, from any start, for any number of ranks."""

from collections import Counter
from itertools import chain

import numpy as np
import pytest

from maskrcnn_benchmark.data.samplers import SeededBatchSampler, seeded_batch_sampler
from maskrcnn_benchmark.data.seeds import epoch_order
from maskrcnn_benchmark.errors import ConfigError, DatasetError

GROUPS = {
    "two groups": [0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 0],
    "one": [0] * 7,
    "tiny group": [0] * 9 + [1],
    "names": ["wide", "tall", "wide", "wide", "wide"],
    "single": [5],
}


def plain_stream(groups, size, num_iterations, seed):
    """One sample after the other into the bucket of its group."""
    buckets, batches, epoch = {}, [], 0
    while len(batches) < num_iterations:
        for index in epoch_order(len(groups), seed=seed, epoch=epoch).tolist():
            bucket = buckets.setdefault(groups[index], [])
            bucket.append((index, epoch))
            if len(bucket) == size:
                batches.append(buckets.pop(groups[index]))
        epoch += 1
    return batches[:num_iterations]


def sampler(groups, size, num_iterations=40, **options):
    return SeededBatchSampler(
        num_samples=len(groups),
        images_per_batch=size,
        num_iterations=num_iterations,
        group_ids=groups,
        **options,
    )


@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 16])
def test_the_stream_is_the_plain_one(groups, size):
    assert list(sampler(groups, size, seed=3)) == plain_stream(groups, size, 40, seed=3)


@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize("size", [1, 4])
def test_it_can_start_anywhere(groups, size):
    whole = list(sampler(groups, size))
    for start in range(41):
        assert list(sampler(groups, size, start_iteration=start)) == whole[start:]
    assert list(sampler(groups, size, start_iteration=99)) == []


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_the_same_batches(world_size):
    groups = GROUPS["two groups"]
    whole = list(sampler(groups, 4))
    shares = [list(sampler(groups, 4, rank=r, world_size=world_size)) for r in range(world_size)]
    assert [list(chain.from_iterable(parts)) for parts in zip(*shares, strict=True)] == whole


def test_every_image_once_per_pass_and_groups_never_mix():
    groups = GROUPS["two groups"]
    batches = list(sampler(groups, 4, 11 * 4))
    assert all(len({groups[index] for index, _ in batch}) == 1 for batch in batches)
    assert all(len(batch) == 4 for batch in batches)
    per_pass = {epoch: Counter() for epoch in range(16)}
    for batch in batches:
        for index, epoch in batch:
            per_pass[epoch][index] += 1
    assert all(set(counts.values()) == {1} for counts in per_pass.values())
    assert all(len(per_pass[epoch]) == 11 for epoch in range(15))


def test_without_groups_and_with_other_seeds():
    options = {"num_samples": 20, "images_per_batch": 4, "num_iterations": 5}
    first = list(SeededBatchSampler(**options))
    assert sorted(index for batch in first for index, _ in batch) == list(range(20))
    assert first != list(SeededBatchSampler(**options, seed=1))
    again = SeededBatchSampler(**options)
    assert list(again) == list(again) == first


def test_the_length_is_the_last_iteration_as_training_loops_expect():
    assert len(sampler(GROUPS["one"], 2, 40, start_iteration=30)) == 40


def test_resuming_a_long_run_is_immediate(monkeypatch):
    """It draws the order of the passes it needs, not of those that came before."""
    drawn = []

    def counted(*args, **kwargs):
        drawn.append(kwargs["epoch"])
        return epoch_order(*args, **kwargs)

    monkeypatch.setattr(seeded_batch_sampler, "epoch_order", counted)
    groups = (np.arange(118_000) % 3 == 0).tolist()
    resumed = sampler(groups, 16, 90_000, start_iteration=89_990, seed=1)
    assert len(list(resumed)) == 10
    assert set(drawn) <= {11, 12}  # of 90,000 * 16 / 118,000 = 12.2
    assert len(drawn) <= 4
    drawn.clear()
    tiny = sampler([0] * 17 + [1], 16, 90_000, start_iteration=89_990)
    assert len(list(tiny)) == 10
    assert len(drawn) < 40  # A batch of the tiny group takes 16 passes.


def test_what_does_not_fit_is_refused():
    with pytest.raises(DatasetError, match="empty data set"):
        sampler([], 4)
    with pytest.raises(ConfigError, match="multiple of the number of processes, got 4 for 3"):
        sampler([0], 4, world_size=3)
    with pytest.raises(DatasetError, match=r"one group per sample \(3\)"):
        SeededBatchSampler(num_samples=3, images_per_batch=1, num_iterations=1, group_ids=[0])
