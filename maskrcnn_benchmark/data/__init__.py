"""From files to batches, and scoring.

datasets     files -> (image, BoxList, index)
transforms   changes to an image and its target together
seeded       makes random transforms a function of (seed, epoch, index)
samplers     which samples make up which batch
loader       batches, drawn by worker processes
"""

from __future__ import annotations

from typing import Any

__all__ = ["make_data_loader"]


def make_data_loader(
    cfg: Any,
    is_train: bool = True,
    is_distributed: bool = False,
    start_iter: int = 0,
    is_for_period: bool = False,
) -> Any:
    """Make the loaders of a run; the old entry point.

    Args:
        cfg: configuration of the run.
        is_train: whether to make the training loader.
        is_distributed: without effect: rank and number of processes are those of torch.distributed.
        start_iter: first iteration of the training loader.
        is_for_period: make one loader of the test data, filtered as for training.

    Returns:
        The training loader, the loader for periodic validation, or a list of test loaders.
    """
    from maskrcnn_benchmark.build.data import (
        build_test_loaders,
        build_train_loader,
        build_validation_loader,
    )

    if is_train:
        return build_train_loader(cfg, start_iter=start_iter)
    if is_for_period:
        return build_validation_loader(cfg)
    return build_test_loaders(cfg)
