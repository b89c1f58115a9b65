from itertools import chain

import pytest

from maskrcnn_benchmark.data.samplers import DistributedSampler


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("length", [10, 3, 1])
def test_equal_contiguous_shares_of_one_order(length, shuffle):
    data = range(length)
    shares = [DistributedSampler(data, num_replicas=4, rank=r, shuffle=shuffle) for r in range(4)]
    orders = [list(share) for share in shares]
    assert {len(order) for order in orders} == {len(shares[0])} == {-(-length // 4)}
    joined = list(chain.from_iterable(orders))
    assert set(joined) == set(data)
    assert joined[length:] == joined[: len(joined) - length] or length < 2, "filled up from start"
    if not shuffle:
        assert joined[:length] == list(data)


def test_the_epoch_chooses_the_order():
    sampler = DistributedSampler(range(20), num_replicas=1, rank=0)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert sorted(sampler) == list(range(20))
