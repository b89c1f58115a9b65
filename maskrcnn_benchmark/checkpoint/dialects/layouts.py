"""How other programs order classes and store norms, and how it is done here.

K: classes, background included.    P: numbers per class (1 for scores and masks, 4 for box deltas).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

# What batch norms add to the variance. Frozen norms of a ResNet add nothing here, so it is added when weights are
# converted.
BATCH_NORM_EPS = 1e-5
_VARIANCE = ".running_var"


def move_background_first(rows: Tensor) -> Tensor:
    """(K, ...) with the background last -> the same with it first."""
    return torch.cat((rows[-1:], rows[:-1]))


def add_background(rows: Tensor, *, per_class: int = 1) -> Tensor:
    """((K - 1) * P, ...) without background -> (K * P, ...), whose first class is zero and never asked."""
    return torch.cat((rows.new_zeros(per_class, *rows.shape[1:]), rows))


def fold_epsilon(name: str, value: Tensor) -> Tensor:
    """The variance of a batch norm -> that of a frozen norm without epsilon; other weights as they are."""
    return value + BATCH_NORM_EPS if name.endswith(_VARIANCE) else value


def variances(names: Iterable[str]) -> frozenset[str]:
    """Those of the names that are variances of norms."""
    return frozenset(name for name in names if name.endswith(_VARIANCE))
