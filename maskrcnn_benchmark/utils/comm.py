"""Talk between the processes of a distributed run.

Outside of one, every function answers for a single process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def get_world_size() -> int:
    """How many processes take part."""
    return dist.get_world_size() if _is_distributed() else 1


def get_rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if _is_distributed() else 0


def is_main_process() -> bool:
    """Whether this is the process that logs and writes files."""
    return get_rank() == 0


def synchronize() -> None:
    """Wait until every process has come here."""
    if get_world_size() > 1:
        dist.barrier()


def all_gather(data: T) -> list[T]:
    """Collect an object from every process, in the order of their ranks.

    Args:
        data: any object that can be pickled (our own processes only, nothing is read from disk).
    """
    world_size = get_world_size()
    if world_size == 1:
        return [data]
    gathered: list[Any] = [None] * world_size
    dist.all_gather_object(gathered, data)
    return gathered


def reduce_dict(input_dict: Mapping[str, Tensor], average: bool = True) -> dict[str, Tensor]:
    """Add up (or average) scalar tensors over all processes.

    The result holds for rank 0 only; the other ranks get numbers without meaning. With one process
    the tensors are returned as they are; with several the names come back sorted.

    Args:
        input_dict: name -> scalar tensor, the same names in every process.
        average: whether to divide the sums by the number of processes.
    """
    world_size = get_world_size()
    if world_size == 1 or not input_dict:
        return dict(input_dict)
    with torch.no_grad():
        names = sorted(input_dict)
        values = torch.stack([input_dict[name].detach().float() for name in names])
        dist.reduce(values, dst=0)
        if average and get_rank() == 0:
            values /= world_size
        return dict(zip(names, values.unbind(), strict=True))
