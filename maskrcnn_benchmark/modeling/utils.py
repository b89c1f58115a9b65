"""Old import path of `cat`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors along an axis; a single one is returned as it is, not copied."""
    if not isinstance(tensors, list | tuple):
        raise TypeError(f"cat: expected a list or tuple of tensors, got {type(tensors).__name__}")
    return tensors[0] if len(tensors) == 1 else torch.cat(tuple(tensors), dim)
