"""A data set whose random transforms draw the same numbers in whatever process they run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from maskrcnn_benchmark.data.seeds import SampleIndex, sample_seed
from maskrcnn_benchmark.structures.bounding_box import BoxList


@contextmanager
def seeded_generators(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and torch (CPU), and restore them at the end.

    Args:
        seed: up to 64 bits.
    """
    python_state = random.getstate()
    numpy_state = np.random.get_state()
    torch_state = torch.get_rng_state()
    try:
        random.seed(seed)
        np.random.seed([seed & 0xFFFFFFFF, seed >> 32])
        # Not torch.manual_seed, which would seed the GPUs too. On a CPU only 32 bits count.
        torch.default_generator.manual_seed((seed ^ (seed >> 32)) & 0xFFFFFFFF)
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)


class SeededDataset(Dataset[Any]):
    """Draws sample (index, epoch) of a data set with generators seeded by (seed, epoch, index).

    So any transform, also one that uses the global generators, is a function of these three. The
    target gets the seed as `sample_seed`, for whoever draws random numbers for this image later on.
    Everything else is asked of the data set itself: `get_img_info`, `categories`, ...
    """

    def __init__(self, dataset: Any, *, seed: int) -> None:
        """Wrap a data set of (image, target, index).

        Args:
            dataset: anything with `__getitem__` and `__len__`.
            seed: seed of the run.
        """
        self.dataset = dataset
        self.seed = seed

    def __getitem__(self, item: SampleIndex | int) -> Any:
        """Sample (index, epoch); a bare index means the first pass."""
        index, epoch = item if isinstance(item, tuple) else (item, 0)
        seed = sample_seed(self.seed, epoch, index)
        with seeded_generators(seed):
            sample = self.dataset[index]
        for part in sample:
            if isinstance(part, BoxList):
                part.sample_seed = seed
        return sample

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":  # not set yet: the object is being unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)
