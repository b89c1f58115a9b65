"""Random numbers as functions of (run seed, epoch, sample index).

Whatever process draws a sample, in whatever order, it draws the same numbers; so the data stream is
the same for any number of workers and ranks, and a resumed run goes on where it stopped.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_MASK = (1 << 64) - 1
# Constants of the SplitMix64 generator (Steele, Lea, Flood: "Fast splittable pseudorandom number
# generators", OOPSLA 2014). Written out here so that no library release can change the stream.
_STEP = 0x9E3779B97F4A7C15
_FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)

# Keeps the order of images independent of what is drawn for each image.
_ORDER_STREAM = 1
_SAMPLE_STREAM = 2


class SampleIndex(NamedTuple):
    """Which sample to draw: index in the data set, and how many passes were over by then."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    epoch: int


def sample_seed(seed: int, epoch: int, index: int) -> int:
    """63-bit seed of all random draws for one sample in one pass.

    Args:
        seed: seed of the run.
        epoch: number of the pass, from 0.
        index: index of the sample.
    """
    return _mix(_mix(_start(seed, _SAMPLE_STREAM) ^ epoch) ^ index) >> 1


def epoch_order(num_samples: int, *, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """The order (num_samples,) in which one pass visits the samples.

    Args:
        num_samples: size of the data set.
        seed: seed of the run.
        epoch: number of the pass, from 0.
    """
    start = np.uint64(_mix(_start(seed, _ORDER_STREAM) ^ epoch))
    keys = _mix_array(np.arange(num_samples, dtype=np.uint64) ^ start)
    return np.argsort(keys, kind="stable").astype(np.int64)


def _start(seed: int, stream: int) -> int:
    return _mix(_mix(stream) ^ (seed & _MASK))


def _mix(value: int) -> int:
    """Scatter 64 bits (SplitMix64)."""
    value = (value + _STEP) & _MASK
    value = ((value ^ (value >> 30)) * _FACTORS[0]) & _MASK
    value = ((value ^ (value >> 27)) * _FACTORS[1]) & _MASK
    return value ^ (value >> 31)


def _mix_array(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """`_mix` of every entry; unsigned arrays wrap around as wanted."""
    values = values + np.uint64(_STEP)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(_FACTORS[0])
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_FACTORS[1])
    return values ^ (values >> np.uint64(31))
