"""The old entry points that make data sets and samplers.

The package's own way is `maskrcnn_benchmark.build.data` and `maskrcnn_benchmark.data.loader`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler

from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.data.loader import aspect_groups
from maskrcnn_benchmark.data.samplers import (
    DistributedSampler,
    GroupedBatchSampler,
    IterationBasedBatchSampler,
)

__all__ = ["build_dataset", "make_batch_data_sampler", "make_data_loader", "make_data_sampler"]


def build_dataset(
    dataset_list: Sequence[str], transforms: Any, dataset_catalog: Any, is_train: bool = True
) -> list[Any]:
    """Make data sets by their names in a catalog.

    Args:
        dataset_list: names.
        transforms: called with (image, target).
        dataset_catalog: has `get(name)` that returns {"factory": ..., "args": {...}}.
        is_train: filter the images as for training, and join the data sets to one.

    Returns:
        One data set per name, or a list of the joined one.
    """
    from maskrcnn_benchmark.build.data import join_datasets, make_dataset

    datasets = [
        make_dataset(name, dataset_catalog.get(name), for_training=is_train, transforms=transforms)
        for name in dataset_list
    ]
    return [join_datasets(datasets)] if is_train else datasets


def make_data_sampler(dataset: Any, shuffle: bool, distributed: bool) -> Any:
    """Make the sampler of one pass over a data set.

    Args:
        dataset: anything with a length.
        shuffle: random order.
        distributed: a share for this process.
    """
    if distributed:
        return DistributedSampler(dataset, shuffle=shuffle)
    return RandomSampler(dataset) if shuffle else SequentialSampler(dataset)


def make_batch_data_sampler(
    dataset: Any,
    sampler: Iterable[int],
    aspect_grouping: Any,
    images_per_batch: int,
    num_iters: int | None = None,
    start_iter: int = 0,
) -> Any:
    """Make batches of what a sampler yields.

    Args:
        dataset: has `get_img_info(index)` if images are to be grouped.
        sampler: yields indices.
        aspect_grouping: whether to keep portrait and landscape images apart.
        images_per_batch: images of this process.
        num_iters: iteration to stop at; None makes one pass.
        start_iter: iteration to start at.
    """
    batches: Any = (
        GroupedBatchSampler(sampler, aspect_groups(dataset), images_per_batch)
        if aspect_grouping
        else BatchSampler(sampler, images_per_batch, drop_last=False)
    )
    if num_iters is None:
        return batches
    return IterationBasedBatchSampler(batches, num_iters, start_iter)
