import numpy as np

from maskrcnn_benchmark.data.seeds import SampleIndex, epoch_order, sample_seed


def test_every_pass_visits_every_sample_once_in_an_order_of_its_own():
    orders = [epoch_order(100, seed=3, epoch=epoch) for epoch in range(5)]
    for order in orders:
        assert sorted(order) == list(range(100))
    assert len({tuple(order) for order in orders}) == 5
    assert not np.array_equal(orders[0], epoch_order(100, seed=4, epoch=0))
    assert np.array_equal(orders[0], epoch_order(100, seed=3, epoch=0))


def test_the_stream_never_changes():
    """A resumed run must go on with the same numbers after any update."""
    assert epoch_order(8, seed=0, epoch=0).tolist() == [3, 1, 6, 2, 4, 7, 0, 5]
    assert sample_seed(0, 0, 0) == 5211480184160126311
    assert sample_seed(1, 2, 3) == 9141629004921663282


def test_seeds_fit_63_bits_and_differ():
    seeds = {
        sample_seed(seed, epoch, index)
        for seed in (0, 1, -1, 2**40)
        for epoch in range(10)
        for index in range(100)
    }
    assert len(seeds) == 4000
    assert all(0 <= seed < 2**63 for seed in seeds)
    high = np.array([seed >> 62 for seed in seeds])
    assert 0.45 < high.mean() < 0.55


def test_first_places_are_uniform():
    firsts = np.bincount([epoch_order(10, seed=0, epoch=e)[0] for e in range(2000)], minlength=10)
    assert firsts.min() > 150
    assert firsts.max() < 250


def test_sample_index_is_a_tuple():
    assert SampleIndex(index=4, epoch=2) == (4, 2)
