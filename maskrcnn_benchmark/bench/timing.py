"""Seconds of steps that take turns, so that a busy machine is unfair to none of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Timing:
    """What a step took, run after run.

    Attributes:
        seconds: of each run.
    """

    seconds: tuple[float, ...]

    def percentile(self, share: float) -> float:
        """Seconds within which so many of 100 runs were done."""
        return float(np.percentile(self.seconds, share))

    @property
    def median(self) -> float:
        """Seconds of the middle run."""
        return self.percentile(50)

    def per_second(self, count: int) -> float:
        """How many of the `count` things a step handles are handled in a second."""
        return count / self.median


def wait_for_device() -> None:
    """Return when the GPU, if there is one, has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def take_turns(
    steps: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int = 1
) -> dict[str, Timing]:
    """Time steps in turns: one run of each, then again.

    Args:
        steps: name -> what is timed.
        rounds: runs of each that count.
        warm_up: runs of each before.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(-warm_up, rounds):
        for name, step in steps.items():
            wait_for_device()
            began = time.perf_counter()
            step()
            wait_for_device()
            if number >= 0:
                seconds[name].append(time.perf_counter() - began)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}
