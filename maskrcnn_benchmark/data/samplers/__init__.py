"""Which samples make up which batch.

`SeededBatchSampler` is what training uses; the other three are the old project's.
"""

from maskrcnn_benchmark.data.samplers.distributed import DistributedSampler
from maskrcnn_benchmark.data.samplers.grouped_batch_sampler import GroupedBatchSampler
from maskrcnn_benchmark.data.samplers.iteration_based_batch_sampler import (
    IterationBasedBatchSampler,
)
from maskrcnn_benchmark.data.samplers.seeded_batch_sampler import SeededBatchSampler

__all__ = [
    "DistributedSampler",
    "GroupedBatchSampler",
    "IterationBasedBatchSampler",
    "SeededBatchSampler",
]
