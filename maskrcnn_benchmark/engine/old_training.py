"""The old `do_train`, in both of its forms; `trainer.train_loop` with explicit arguments is behind it."""

from __future__ import annotations

import importlib
from typing import Any, overload

import torch
from torch import nn
from torch.optim import Optimizer

from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer
from maskrcnn_benchmark.engine.trainer import Periods, train_loop
from maskrcnn_benchmark.engine.training_step import make_grad_scaler


@overload
def do_train(
    cfg: Any,
    model: nn.Module,
    data_loader: Any,
    data_loader_val: Any,
    optimizer: Optimizer,
    scheduler: Any,
    checkpointer: Checkpointer,
    device: torch.device | str,
    checkpoint_period: int,
    test_period: int,
    arguments: dict[str, Any],
) -> None: ...
@overload
def do_train(
    model: nn.Module,
    data_loader: Any,
    optimizer: Optimizer,
    scheduler: Any,
    checkpointer: Checkpointer,
    device: torch.device | str,
    checkpoint_period: int,
    arguments: dict[str, Any],
) -> None: ...
def do_train(*args: Any, **kwargs: Any) -> None:
    """Train as the old `do_train` did; without a config (the older form) in float32 and without periodic tests.

    Args:
        args: as in one of the two forms:
            cfg, read for DTYPE, SEED, log and test settings; model, on `device`, in DistributedDataParallel if there
            are several processes; data_loader, which yields (images, targets, ids) and whose length is the iteration
            to stop at; data_loader_val, scored every `test_period` iterations, may be None; optimizer; scheduler,
            stepped once after each update; checkpointer, over the same parts; device, where batches go;
            checkpoint_period, iterations between checkpoints; test_period, iterations between tests, 0 for none;
            arguments, whose `iteration` is where to start, the rest is kept in checkpoints.
            Or the same without cfg, data_loader_val and test_period.
        kwargs: any of them by name.
    """
    if "cfg" in kwargs or (args and not isinstance(args[0], nn.Module)):
        _train_with_config(*args, **kwargs)
    else:
        _train(*args, **kwargs)


def _train_with_config(
    cfg: Any,
    model: nn.Module,
    data_loader: Any,
    data_loader_val: Any,
    optimizer: Optimizer,
    scheduler: Any,
    checkpointer: Checkpointer,
    device: torch.device | str,
    checkpoint_period: int,
    test_period: int,
    arguments: dict[str, Any],
) -> None:
    # Loaded on first use: nothing in `engine` depends on what lies above it.
    settings = importlib.import_module("maskrcnn_benchmark.build.training")
    evaluate = None
    if test_period > 0 and data_loader_val is not None:
        evaluate = settings.build_evaluation(
            cfg,
            model,
            [data_loader_val],
            names=["validation set"],
            validation_loader=data_loader_val,
            device=torch.device(device),
        )
    _train(
        model,
        data_loader,
        optimizer,
        scheduler,
        checkpointer,
        device,
        checkpoint_period,
        arguments,
        log_period=cfg.SOLVER.LOG_PERIOD,
        test_period=test_period,
        evaluate=evaluate,
        **settings.step_settings(cfg),
    )


def _train(
    model: nn.Module,
    data_loader: Any,
    optimizer: Optimizer,
    scheduler: Any,
    checkpointer: Checkpointer,
    device: torch.device | str,
    checkpoint_period: int,
    arguments: dict[str, Any],
    *,
    log_period: int = 20,
    test_period: int = 0,
    dtype: torch.dtype = torch.float32,
    **settings: Any,
) -> None:
    device = torch.device(device)
    train_loop(
        model,
        data_loader,
        optimizer,
        scheduler,
        checkpointer=checkpointer,
        device=device,
        max_iteration=len(data_loader),
        start_iteration=int(arguments.get("iteration", 0)),
        periods=Periods(log=log_period, checkpoint=checkpoint_period, test=test_period),
        dtype=dtype,
        scaler=make_grad_scaler(device=device, dtype=dtype),
        checkpoint_data=arguments,
        **settings,
    )
    arguments["iteration"] = len(data_loader)
