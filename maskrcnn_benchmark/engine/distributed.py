"""Several processes, one model: how a process finds the others, and how it leaves."""

from __future__ import annotations

import contextlib
import datetime
import inspect
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from maskrcnn_benchmark.errors import ConfigError, MaskRCNNError, TrainingError

logger = logging.getLogger(__name__)

# The others wait in silence while the first process scores a whole data set.
_PATIENCE = datetime.timedelta(hours=1)
# What collectives say when another process is gone.
_LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "NCCL",
    "Timed out",
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where this process stands.

    Attributes:
        rank: its number among all.
        local_rank: its number on this machine, which is the number of its GPU.
        world_size: how many there are.
        device: what it computes on.
    """

    rank: int
    local_rank: int
    world_size: int
    device: torch.device


def wanted_world_size() -> int:
    """Return how many processes the launcher (torchrun) started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def process_group(device: torch.device, *, local_rank: int | None = None) -> Iterator[Place]:
    """Join the processes that the launcher started; leave them when the block ends.

    Started by `torchrun` or `python -m torch.distributed.launch`, which set WORLD_SIZE, RANK and
    LOCAL_RANK. With one process, or a group that exists already, nothing is started or ended. An error in
    one process ends its connections at once, so that the others stop instead of waiting.

    Args:
        device: the kind to compute on; a GPU without number becomes the one of the local rank.
        local_rank: for launchers that pass it as an argument only.

    Raises:
        ConfigError: if there are fewer GPUs than processes on this machine.
        TrainingError: in place of the error of a connection that another process's end closed.
    """
    ours = wanted_world_size() > 1 and not dist.is_initialized()
    if local_rank is None or "LOCAL_RANK" in os.environ:
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = _own_device(device, local_rank)
    if ours:
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, init_method="env://", timeout=_PATIENCE)
    joined = dist.is_available() and dist.is_initialized()
    place = Place(
        rank=dist.get_rank() if joined else 0,
        local_rank=local_rank,
        world_size=dist.get_world_size() if joined else 1,
        device=device,
    )
    try:
        yield place
    except BaseException as error:
        if ours:
            _leave_at_once()
        if place.world_size > 1 and _is_lost_connection(error):
            raise TrainingError(
                f"process {place.rank} lost the connection to another process, which has stopped; "
                "its error message says why"
            ) from error
        raise
    if ours:
        dist.destroy_process_group()


def _own_device(device: torch.device, local_rank: int) -> torch.device:
    if device.type != "cuda":
        return device
    if str(device) == "cuda" or wanted_world_size() > 1:
        number = torch.cuda.device_count()
        if local_rank >= number:
            raise ConfigError(
                f"process {local_rank} of this machine needs a GPU of its own, there are {number}; "
                "start as many processes as GPUs (torchrun --nproc_per_node), or use MODEL.DEVICE cpu"
            )
        device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def _is_lost_connection(error: BaseException) -> bool:
    if isinstance(error, MaskRCNNError) or not isinstance(error, RuntimeError):
        return False
    return isinstance(error, dist.DistError) or any(text in str(error) for text in _LOST)


def _leave_at_once() -> None:
    # NCCL would wait for exchanges that never come; abort where this torch can.
    abort = getattr(dist.distributed_c10d, "_abort_process_group", dist.destroy_process_group)
    with contextlib.suppress(RuntimeError, ValueError, AssertionError):
        abort()


def distribute(model: nn.Module, place: Place) -> nn.Module:
    """Wrap a model so that gradients are averaged over all processes; with one, return it as it is."""
    if place.world_size == 1:
        return model
    # 1x1 kernels in channels-last order have two equivalent strides; torch remarks on it once.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    # Frozen statistics do not change, trained ones are each process's own (or SyncBN's).
    known = inspect.signature(DistributedDataParallel).parameters
    no_sync = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    settings: dict[str, Any] = {no_sync: False}
    if place.device.type == "cuda":
        settings["device_ids"] = [place.device.index]
    return DistributedDataParallel(model, **settings)
