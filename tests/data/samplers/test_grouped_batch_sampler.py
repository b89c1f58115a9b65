import pytest
import torch
from torch.utils.data import RandomSampler, SequentialSampler

from maskrcnn_benchmark.data.samplers import GroupedBatchSampler
from maskrcnn_benchmark.errors import DatasetError

GROUPS = [0, 1, 0, 0, 1, 1, 0, 1, 0]


@pytest.mark.parametrize("groups", [GROUPS, torch.tensor(GROUPS)])
def test_batches_keep_order_and_come_by_their_first_sample(groups):
    sampler = GroupedBatchSampler(SequentialSampler(GROUPS), groups, 2)
    assert list(sampler) == [[0, 2], [1, 4], [3, 6], [5, 7], [8]]
    assert len(sampler) == 5


def test_uneven_batches_can_be_dropped():
    sampler = GroupedBatchSampler([8, 7, 6, 5, 0], GROUPS, 2, drop_uneven=True)
    assert list(sampler) == [[8, 6], [7, 5]]
    assert len(sampler) == 2


def test_the_length_is_that_of_the_next_pass():
    class Counted(RandomSampler):
        passes = 0

        def __iter__(self):
            Counted.passes += 1
            return super().__iter__()

    sampler = GroupedBatchSampler(Counted(GROUPS), GROUPS, 2)
    assert len(sampler) == len(sampler) == sum(1 for _ in sampler)
    assert Counted.passes == 1
    passes = [[tuple(batch) for batch in sampler] for _ in range(4)]
    assert Counted.passes == 5
    assert len({tuple(each) for each in passes}) > 1


def test_one_group_per_sample():
    with pytest.raises(DatasetError, match=r"got shape \(1, 3\)"):
        GroupedBatchSampler([0], [[0, 1, 0]], 2)
