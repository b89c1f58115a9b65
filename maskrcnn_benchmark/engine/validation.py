"""Losses on a test set, in the middle of training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from maskrcnn_benchmark.engine.loss_sharing import share_losses
from maskrcnn_benchmark.utils.comm import all_gather
from maskrcnn_benchmark.utils.metric_logger import MetricLogger
from maskrcnn_benchmark.utils.progress import track


def validation_losses(
    model: nn.Module, data_loader: Any, *, device: torch.device, dtype: torch.dtype = torch.float32
) -> MetricLogger:
    """Compute the training losses on a loader without learning from it.

    Batch norms use their running statistics, so that nothing of the model changes.

    Args:
        model: on `device`, in training mode afterwards as before.
        data_loader: yields (images, targets, indices).
        device: where batches go.
        dtype: of the arithmetic.

    Returns:
        A series per loss, and `loss` for their sum; means over all processes.
    """
    network = model.module if isinstance(model, DistributedDataParallel) else model
    meters = MetricLogger(delimiter="  ")
    mixed = dtype != torch.float32
    # Processes may have one batch more or less than others; they exchange as often as the least.
    rounds = min(all_gather(len(data_loader)))
    with (
        _training_mode(network),
        torch.no_grad(),
        torch.autocast(device.type, dtype=dtype if mixed else None, enabled=mixed),
    ):
        for number, batch in enumerate(track(data_loader, "Validation losses")):
            if number == rounds:
                break
            images, targets, _ = batch
            losses = network(images.to(device), [target.to(device) for target in targets])
            averages, _ = share_losses(losses, stop=False)
            meters.update(loss=sum(averages.values()), **averages)
    return meters


@contextmanager
def _training_mode(model: nn.Module) -> Iterator[None]:
    was_training = model.training
    model.train()
    norms = [part for part in model.modules() if isinstance(part, _BatchNorm)]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        model.train(was_training)
