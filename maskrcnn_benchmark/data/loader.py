"""Batches for training and testing, drawn by worker processes."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader

from maskrcnn_benchmark.data.collate_batch import BatchCollator
from maskrcnn_benchmark.data.samplers.grouped_batch_sampler import GroupedBatchSampler
from maskrcnn_benchmark.data.samplers.seeded_batch_sampler import SeededBatchSampler
from maskrcnn_benchmark.data.seeded import SeededDataset
from maskrcnn_benchmark.errors import ConfigError, DatasetError


class BatchLoader(DataLoader[Any]):
    """A DataLoader that yields (ImageList, targets, indices)."""

    def __iter__(self) -> Any:
        with warnings.catch_warnings():
            # Python 3.12 warns of any fork while threads exist, and torch has threads. The workers
            # use none of them: each runs on one thread of its own.
            warnings.filterwarnings(
                "ignore", message=".*multi-threaded.*fork", category=DeprecationWarning
            )
            batches = super().__iter__()
        return _with_plain_errors(batches)


def _with_plain_errors(batches: Iterable[Any]) -> Iterator[Any]:
    """Pass batches on; an error of a worker says what it said there, without the traceback."""
    try:
        yield from batches
    except DatasetError as error:
        # torch makes a text of the worker's traceback, which ends with the message.
        _, _, message = str(error).rpartition(f"{DatasetError.__name__}: ")
        raise DatasetError(message.rstrip()) from error


def aspect_groups(dataset: Any) -> list[int]:
    """Group of each image: 1 where it is at least as high as wide, 0 otherwise.

    Args:
        dataset: has `get_img_info(index)` with height and width.

    Raises:
        DatasetError: if it has not.
    """
    if not hasattr(dataset, "get_img_info"):
        raise DatasetError(
            f"grouping by aspect ratio needs {type(dataset).__name__}.get_img_info(index), which "
            "returns height and width; define it or set DATALOADER.ASPECT_RATIO_GROUPING to False"
        )
    infos = (dataset.get_img_info(index) for index in range(len(dataset)))
    return [int(info["height"] >= info["width"]) for info in infos]


def make_train_loader(
    dataset: Any,
    *,
    images_per_batch: int,
    num_iterations: int,
    start_iteration: int = 0,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    aspect_grouping: bool = True,
    size_divisible: int = 0,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> BatchLoader:
    """Loader of the batches `start_iteration` up to `num_iterations` of a training run.

    What comes at which iteration depends on the data set, `seed`, `images_per_batch` and
    `aspect_grouping` alone; each rank gets its slice of it.

    Args:
        dataset: yields (image, target, index).
        images_per_batch: over all ranks.
        num_iterations: iteration to stop at, which is also the loader's length.
        start_iteration: iteration to start at, after a resume.
        seed: seed of the run.
        rank: number of this process.
        world_size: number of processes.
        aspect_grouping: keep portrait and landscape images apart, to save padding.
        size_divisible: height and width of a batch become multiples of it, where above 0.
        num_workers: processes that read images; 0 reads them in this one.
        pin_memory: put batches into page-locked memory.
    """
    sampler = SeededBatchSampler(
        num_samples=len(dataset),
        images_per_batch=images_per_batch,
        num_iterations=num_iterations,
        start_iteration=start_iteration,
        seed=seed,
        rank=rank,
        world_size=world_size,
        group_ids=aspect_groups(dataset) if aspect_grouping else None,
    )
    return make_loader(
        SeededDataset(dataset, seed=seed),
        batch_sampler=sampler,
        collate=BatchCollator(size_divisible),
        num_workers=num_workers,
        pin_memory=pin_memory,
        persistent=True,
    )


def make_test_loader(
    dataset: Any,
    *,
    images_per_batch: int,
    rank: int = 0,
    world_size: int = 1,
    aspect_grouping: bool = False,
    size_divisible: int = 0,
    num_workers: int = 0,
    pin_memory: bool = False,
    collate: Callable[..., Any] | None = None,
) -> BatchLoader:
    """Loader of every sample once; each rank gets a contiguous part.

    Args:
        dataset: yields (image, target, index).
        images_per_batch: over all ranks.
        rank: number of this process.
        world_size: number of processes.
        aspect_grouping: keep portrait and landscape images apart; the order changes a little then.
        size_divisible: height and width of a batch become multiples of it, where above 0.
        num_workers: processes that read images; 0 reads them in this one.
        pin_memory: put batches into page-locked memory.
        collate: makes batches of samples; None pads them to `size_divisible`.
    """
    if images_per_batch < 1 or images_per_batch % world_size:
        raise ConfigError(
            f"images per batch must be a multiple of the number of processes, got "
            f"{images_per_batch} for {world_size}; set TEST.IMS_PER_BATCH accordingly"
        )
    own = range(rank * len(dataset) // world_size, (rank + 1) * len(dataset) // world_size)
    share = images_per_batch // world_size
    batches: Iterable[list[int]] = (
        GroupedBatchSampler(own, aspect_groups(dataset), share)
        if aspect_grouping and share > 1
        else BatchSampler(own, share, drop_last=False)
    )
    return make_loader(
        dataset,
        batch_sampler=batches,
        collate=collate or BatchCollator(size_divisible),
        num_workers=num_workers,
        pin_memory=pin_memory,
    )


def make_loader(
    dataset: Any,
    *,
    batch_sampler: Any,
    collate: Callable[..., Any],
    num_workers: int = 0,
    pin_memory: bool = False,
    persistent: bool = False,
) -> BatchLoader:
    """Loader over any batch sampler.

    Args:
        dataset: yields samples.
        batch_sampler: yields lists of what `dataset` is indexed by.
        collate: makes a batch of a list of samples.
        num_workers: processes that read images; 0 reads them in this one.
        pin_memory: put batches into page-locked memory.
        persistent: keep the workers from one pass to the next.
    """
    return BatchLoader(
        dataset,
        batch_sampler=batch_sampler,
        collate_fn=collate,
        num_workers=num_workers,
        pin_memory=pin_memory,
        persistent_workers=persistent and num_workers > 0,
        worker_init_fn=_start_worker,
        # Its own generator: making an iterator draws a number, which would shift the model's draws.
        generator=torch.Generator(),
    )


def _start_worker(worker_id: int) -> None:
    """Set up a worker process.

    Ctrl-C goes to all processes of a terminal; only the training process acts on it, so that it can
    finish its iteration and save. It ends the workers itself.
    """
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
