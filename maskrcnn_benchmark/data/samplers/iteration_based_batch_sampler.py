"""A batch sampler repeated up to a number of iterations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import Sampler

from maskrcnn_benchmark.errors import DatasetError


class IterationBasedBatchSampler(Sampler[Any]):
    """Passes over a batch sampler again and again, from one iteration to another.

    Its length is `num_iterations`, wherever it starts, as in the old project.
    """

    def __init__(self, batch_sampler: Any, num_iterations: int, start_iter: int = 0) -> None:
        """Wrap a batch sampler.

        Args:
            batch_sampler: yields batches of indices.
            num_iterations: iteration to stop at.
            start_iter: iteration to start at; num_iterations - start_iter batches are drawn.
        """
        self.batch_sampler = batch_sampler
        self.num_iterations = num_iterations
        self.start_iter = start_iter

    def __iter__(self) -> Iterator[Any]:
        iteration = self.start_iter
        while iteration < self.num_iterations:
            sampler: Any = getattr(self.batch_sampler, "sampler", None)
            if hasattr(sampler, "set_epoch"):
                # Old behaviour: the number of iterations, not of passes, seeds the next shuffle.
                sampler.set_epoch(iteration)
            before = iteration
            for batch in self.batch_sampler:
                if iteration >= self.num_iterations:
                    break
                iteration += 1
                yield batch
            if iteration == before:
                raise DatasetError(
                    f"the batch sampler {type(self.batch_sampler).__name__} yields no batch, "
                    f"{self.num_iterations - iteration} were expected: is the data set empty?"
                )

    def __len__(self) -> int:
        return self.num_iterations
