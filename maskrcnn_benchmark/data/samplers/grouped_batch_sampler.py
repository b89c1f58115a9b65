"""Batches that never mix two groups, as the old project made them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Sampler

from maskrcnn_benchmark.errors import DatasetError


class GroupedBatchSampler(Sampler[list[int]]):
    """Batches of samples of one group each.

    Within a group the order of `sampler` stays; batches come in the order of their first samples.
    """

    def __init__(
        self,
        sampler: Iterable[int],
        group_ids: Sequence[int] | Tensor,
        batch_size: int,
        drop_uneven: bool = False,
    ) -> None:
        """Group what a sampler yields.

        Args:
            sampler: yields indices.
            group_ids: the group of each index.
            batch_size: samples of a batch.
            drop_uneven: leave out batches that are not full.
        """
        self.sampler = sampler
        self.group_ids = torch.as_tensor(group_ids)
        if self.group_ids.ndim != 1:
            raise DatasetError(
                f"group_ids must have one entry per sample, got shape {tuple(self.group_ids.shape)}"
            )
        self.batch_size = batch_size
        self.drop_uneven = drop_uneven
        self._prepared: list[list[int]] | None = None

    def _batches(self) -> list[list[int]]:
        groups: list[int] = self.group_ids.tolist()
        open_batches: dict[int, list[int]] = {}
        batches: list[list[int]] = []
        for index in self.sampler:
            group = groups[index]
            batch = open_batches.get(group)
            if batch is None:
                batch = open_batches[group] = []
                batches.append(batch)
            batch.append(index)
            if len(batch) == self.batch_size:
                del open_batches[group]
        if self.drop_uneven:
            return [batch for batch in batches if len(batch) == self.batch_size]
        return batches

    def __iter__(self) -> Iterator[list[int]]:
        batches, self._prepared = self._prepared or self._batches(), None
        return iter(batches)

    def __len__(self) -> int:
        # With a random sampler the number of batches is only known once they are drawn; the next
        # pass uses these.
        if self._prepared is None:
            self._prepared = self._batches()
        return len(self._prepared)
