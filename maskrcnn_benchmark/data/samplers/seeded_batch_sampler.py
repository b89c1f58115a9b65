"""Training batches that depend on nothing but the seed and the iteration.

The stream of the whole run is fixed before ranks and workers come in: passes over the data set, each
in its own random order, are cut into batches of images of one group (portrait or landscape), and
each rank takes its slice of every batch.

n: samples of a group.    B: images of a batch over all ranks.    e: number of a pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from maskrcnn_benchmark.data.seeds import SampleIndex, epoch_order
from maskrcnn_benchmark.errors import ConfigError, DatasetError

# Rows (index, epoch).
Samples = npt.NDArray[np.int64]


class SeededBatchSampler(Sampler[list[SampleIndex]]):
    """Batches `start_iteration` up to `num_iterations` of an endless, reproducible stream.

    Every pass visits every sample once. What does not fill a batch at the end of a pass is completed
    in the next one, so every batch is full and of one group.

    Its length is `num_iterations`, wherever it starts: a training loop takes the end of the run from
    the length of its loader.
    """

    def __init__(
        self,
        *,
        num_samples: int,
        images_per_batch: int,
        num_iterations: int,
        start_iteration: int = 0,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        group_ids: Sequence[int] | None = None,
    ) -> None:
        """Describe the stream and the part of it to draw.

        Args:
            num_samples: size of the data set.
            images_per_batch: B, over all ranks.
            num_iterations: iteration to stop at.
            start_iteration: iteration to start at.
            seed: seed of the run.
            rank: number of this process.
            world_size: number of processes.
            group_ids: group of each sample; None puts all into one.
        """
        if num_samples < 1:
            raise DatasetError("expected at least one sample to train on, got an empty data set")
        if images_per_batch < 1 or images_per_batch % world_size:
            raise ConfigError(
                f"images per batch must be a multiple of the number of processes, got "
                f"{images_per_batch} for {world_size}; set SOLVER.IMS_PER_BATCH accordingly"
            )
        groups = np.zeros(num_samples, np.int64) if group_ids is None else np.asarray(group_ids)
        if groups.shape != (num_samples,):
            raise DatasetError(
                f"expected one group per sample ({num_samples}), got shape {groups.shape}"
            )
        _, self._groups = np.unique(groups, return_inverse=True)
        self._group_sizes = [int(size) for size in np.bincount(self._groups)]
        self.num_samples = num_samples
        self.images_per_batch = images_per_batch
        self.num_iterations = num_iterations
        self.start_iteration = start_iteration
        self.seed = seed
        share = images_per_batch // world_size
        self._share = slice(rank * share, (rank + 1) * share)

    def __iter__(self) -> Iterator[list[SampleIndex]]:
        epoch = self._epoch_of(self.start_iteration)
        iteration = self._batches_before(epoch)
        leftovers = [self._leftover(group, epoch) for group in range(len(self._group_sizes))]
        while iteration < self.num_iterations:
            batches, leftovers = self._pass(epoch, leftovers)
            for batch in batches[: self.num_iterations - iteration]:
                if iteration >= self.start_iteration:
                    yield [SampleIndex(index, of) for index, of in batch[self._share].tolist()]
                iteration += 1
            epoch += 1

    def __len__(self) -> int:
        return self.num_iterations

    def _batches_before(self, epoch: int) -> int:
        """How many batches are full when pass `epoch` begins."""
        return sum(size * epoch // self.images_per_batch for size in self._group_sizes)

    def _epoch_of(self, iteration: int) -> int:
        """The last pass that begins with no more than `iteration` batches behind it."""
        low, high = 0, (iteration + len(self._group_sizes)) * self.images_per_batch + 1
        while high - low > 1:
            middle = (low + high) // 2
            if self._batches_before(middle) <= iteration:
                low = middle
            else:
                high = middle
        return low

    def _members(self, group: int, epoch: int, order: npt.NDArray[np.int64]) -> Samples:
        """The samples of a group in the order of a pass."""
        members = order[self._groups[order] == group]
        return np.stack((members, np.full_like(members, epoch)), axis=1)

    def _leftover(self, group: int, epoch: int) -> Samples:
        """The samples of a group that wait for a batch when pass `epoch` begins."""
        missing = self._group_sizes[group] * epoch % self.images_per_batch
        parts = [np.zeros((0, 2), dtype=np.int64)]
        while missing:
            epoch -= 1
            order = epoch_order(self.num_samples, seed=self.seed, epoch=epoch)
            part = self._members(group, epoch, order)[-missing:]
            parts.insert(0, part)
            missing -= len(part)
        return np.concatenate(parts)

    def _pass(self, epoch: int, leftovers: list[Samples]) -> tuple[list[Samples], list[Samples]]:
        """The batches (B, 2) that one pass completes, in order, and what is left over."""
        size = self.images_per_batch
        order = epoch_order(self.num_samples, seed=self.seed, epoch=epoch)
        completed: list[tuple[int, Samples]] = []
        remaining = []
        for group, waiting in enumerate(leftovers):
            positions = np.flatnonzero(self._groups[order] == group)
            samples = np.concatenate((waiting, self._members(group, epoch, order)))
            full = len(samples) // size
            for number in range(full):
                last = positions[(number + 1) * size - 1 - len(waiting)]
                completed.append((int(last), samples[number * size : (number + 1) * size]))
            remaining.append(samples[full * size :])
        completed.sort(key=lambda entry: entry[0])
        return [batch for _, batch in completed], remaining
