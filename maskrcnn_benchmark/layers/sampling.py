"""Random samples of positives and negatives whose draw is a function of a seed, not of the process.

Every element gets a pseudo-random key that depends only on the image's seed, the purpose and the element's
number; the sample is a top-k over the keys. So an image draws the same anchors on any device, in any process and, if
the numbers do not depend on the padding, in any batch.

B: images.    A: candidates of an image.    S: size of the sample.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Purposes; different samples of one image must not share their draw.
ANCHOR_STREAM = 1
ROI_STREAM = 2

_MASK32 = 0xFFFFFFFF
_UNWANTED = -1
_POSITIVE_BONUS = 1 << 33


class Sample(NamedTuple):
    """Chosen candidates of each image, positives first.

    Attributes:
        indices: (B, S) int64 into A (0 where padded).
        valid: (B, S) bool.
    """

    indices: Tensor
    valid: Tensor


def random_keys(seeds: Tensor, numbers: Tensor, *, stream: int) -> Tensor:
    """Keys (B, A) int64, uniform in [0, 2**32), from seeds (B,) and the elements' numbers (A,), both int64.

    A 32-bit integer hash with full avalanche (two rounds of xor-shift and multiply) over the number, seeded by
    the hash of the image's seed and the stream. Products stay below 2**63, so the arithmetic is exact on
    every backend.
    """
    low = _hash32((seeds & _MASK32) ^ (stream * 0x9E3779B1 & _MASK32))
    start = _hash32(low ^ ((seeds >> 32) & _MASK32))
    return _hash32(_hash32(numbers & _MASK32) ^ start[:, None])


def sample_labels(
    labels: Tensor,
    seeds: Tensor,
    *,
    batch_size: int,
    positive_fraction: float,
    stream: int,
    numbers: Tensor | None = None,
) -> Sample:
    """Choose up to `batch_size` candidates per image, at most a fraction of them positive.

    Args:
        labels: (B, A) integers: 1 or more is positive, 0 negative, below 0 not to be chosen.
        seeds: (B,) int64, one for each image.
        batch_size: how many candidates are wanted; negatives fill what positives leave.
        positive_fraction: the largest share of positives.
        stream: purpose of the draw.
        numbers: (A,) int64, below 2**32, what identifies each candidate; by default its index.
    """
    count = labels.shape[1]
    if numbers is None:
        numbers = torch.arange(count, device=labels.device)
    keys = random_keys(seeds, numbers, stream=stream)
    is_positive = labels >= 1
    wanted = min(int(batch_size * positive_fraction), count)
    chosen = torch.where(is_positive, keys, _UNWANTED).topk(wanted, dim=1)
    # Chosen positives come first in the second draw, all other positives not at all.
    keys = torch.where(labels == 0, keys, _UNWANTED)
    # Where there are fewer positives than wanted, the draw ran on into others: they keep their key.
    bonus = torch.where(
        chosen.values >= 0, chosen.values + _POSITIVE_BONUS, keys.gather(1, chosen.indices)
    )
    keys = keys.scatter(1, chosen.indices, bonus)
    best = keys.topk(min(batch_size, count), dim=1)
    valid = best.values >= 0
    return Sample(torch.where(valid, best.indices, 0), valid)


def _hash32(value: Tensor) -> Tensor:
    """Mix 32 bits held in an int64; the constant is below 2**27."""
    value = ((value >> 16) ^ value) * 0x45D9F3B & _MASK32
    value = ((value >> 16) ^ value) * 0x45D9F3B & _MASK32
    return (value >> 16) ^ value
