import pytest
from torch.utils.data import BatchSampler, SequentialSampler

from maskrcnn_benchmark.data.samplers import IterationBasedBatchSampler
from maskrcnn_benchmark.errors import DatasetError


class Epochs(SequentialSampler):
    def __init__(self, data):
        super().__init__(data)
        self.epochs = []

    def set_epoch(self, epoch):
        self.epochs.append(epoch)


def test_passes_repeat_up_to_the_last_iteration():
    epochs = Epochs(range(5))
    sampler = IterationBasedBatchSampler(BatchSampler(epochs, 2, drop_last=False), 7)
    assert list(sampler) == [[0, 1], [2, 3], [4]] * 2 + [[0, 1]]
    assert len(sampler) == 7
    assert epochs.epochs == [0, 3, 6], "the iterations done, as in the old project"


def test_it_starts_late_but_its_length_stays():
    batches = BatchSampler(SequentialSampler(range(4)), 2, drop_last=False)
    sampler = IterationBasedBatchSampler(batches, 7, start_iter=5)
    assert list(sampler) == [[0, 1], [2, 3]]
    assert len(sampler) == 7


def test_no_batches_are_an_error_not_an_endless_loop():
    with pytest.raises(DatasetError, match="yields no batch, 7 were expected"):
        list(IterationBasedBatchSampler(BatchSampler([], 2, drop_last=False), 7))
