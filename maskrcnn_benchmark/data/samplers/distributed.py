"""A share of the samples for each process, as the old project dealt them out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized

import torch
import torch.distributed as dist
from torch.utils.data import Sampler


class DistributedSampler(Sampler[int]):
    """A contiguous chunk of one permutation per process; all chunks have the same length.

    The permutation depends on the epoch alone. It is filled up from its own start, so some samples
    come twice.
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
    ) -> None:
        """Deal out the samples of a data set.

        Args:
            dataset: anything with a length.
            num_replicas: number of processes; None asks torch.distributed.
            rank: number of this process; None asks torch.distributed.
            shuffle: permute the samples in each epoch.
        """
        self.dataset = dataset
        self.num_replicas = dist.get_world_size() if num_replicas is None else num_replicas
        self.rank = dist.get_rank() if rank is None else rank
        self.epoch = 0
        self.num_samples = math.ceil(len(dataset) / self.num_replicas)
        self.total_size = self.num_samples * self.num_replicas
        self.shuffle = shuffle

    def __iter__(self) -> Iterator[int]:
        order = list(range(len(self.dataset)))
        if self.shuffle and order:
            generator = torch.Generator()
            generator.manual_seed(self.epoch)
            order = torch.randperm(len(order), generator=generator).tolist()
        while order and len(order) < self.total_size:
            order += order[: self.total_size - len(order)]
        start = self.rank * self.num_samples
        return iter(order[start : start + self.num_samples])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation of the next pass."""
        self.epoch = epoch
