"""The training loop: batches in; updates, log lines and checkpoints out."""

from __future__ import annotations

import datetime
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer
from maskrcnn_benchmark.engine.loss_sharing import check_losses, share_losses
from maskrcnn_benchmark.engine.metric_writers import MetricWriter
from maskrcnn_benchmark.engine.training_log import TrainingLog
from maskrcnn_benchmark.engine.training_step import TrainingStep
from maskrcnn_benchmark.errors import TrainingError
from maskrcnn_benchmark.utils.comm import get_rank, reduce_dict
from maskrcnn_benchmark.utils.interrupt import Interrupt
from maskrcnn_benchmark.utils.metric_logger import MetricLogger
from maskrcnn_benchmark.utils.old_names import old_names
from maskrcnn_benchmark.utils.progress import progress_bar

# An old name, which lives elsewhere now.
__getattr__ = old_names(__name__, {"do_train": "maskrcnn_benchmark.engine.old_training"})

logger = logging.getLogger("maskrcnn_benchmark.trainer")

FINAL_CHECKPOINT = "model_final"

# Images, one target per image, image ids.
Batch = tuple[Any, Sequence[Any], Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class Periods:
    """How often things happen, in iterations; 0: never."""

    log: int = 20
    checkpoint: int = 2500
    test: int = 0


def train_loop(
    model: nn.Module,
    loader: Iterable[Batch],
    optimizer: Optimizer,
    scheduler: Any,
    *,
    checkpointer: Checkpointer,
    device: torch.device,
    max_iteration: int,
    start_iteration: int = 0,
    periods: Periods | None = None,
    dtype: torch.dtype = torch.float32,
    scaler: GradScaler | None = None,
    clip_grad_norm: float = 0.0,
    seed: int | None = None,
    evaluate: Callable[[int], MetricLogger | None] | None = None,
    writers: Sequence[MetricWriter] = (),
    checkpoint_data: Mapping[str, Any] | None = None,
    describe_image: Callable[[Any], str] = str,
) -> None:
    """Train from `start_iteration` updates to `max_iteration` updates.

    A checkpoint `model_NNNNNNN` is saved every so many iterations, `model_final` at the end. Ctrl-C
    or SIGTERM finishes the iteration, saves one and raises KeyboardInterrupt.

    Args:
        model: `model(images, targets)` returns name -> loss; on `device` already, may be inside
            DistributedDataParallel.
        loader: yields (images, targets, image ids), the batch of iteration `start_iteration` first.
        optimizer: over the model's parameters.
        scheduler: `step()` is called once after each update.
        checkpointer: over the same model, optimizer, scheduler and scaler.
        device: where batches go.
        max_iteration: updates in all.
        start_iteration: updates made by earlier processes of this run.
        periods: how often things happen.
        dtype: of the arithmetic, see `TrainingStep`.
        scaler: for float16.
        clip_grad_norm: largest norm of all gradients together; 0: no limit.
        seed: makes what the model draws from torch's generator a function of (seed, iteration,
            rank); None leaves the generator alone.
        evaluate: called with the number of updates every `periods.test` iterations; may return
            losses on the test sets for a line of their own.
        writers: get a record per log line.
        checkpoint_data: plain data to keep in each checkpoint.
        describe_image: an image id of the loader in words, for errors.

    Raises:
        TrainingError: if a loss is not finite, or the loader ends too early.
        KeyboardInterrupt: after a checkpoint, if asked to stop.
    """
    loop = _TrainingLoop(
        step=TrainingStep(
            model,
            optimizer,
            device=device,
            dtype=dtype,
            scaler=scaler,
            clip_grad_norm=clip_grad_norm,
        ),
        scheduler=scheduler,
        log=TrainingLog(logger=logger, max_iteration=max_iteration, device=device, writers=writers),
        checkpointer=checkpointer,
        checkpoint_data=dict(checkpoint_data or {}),
        periods=periods or Periods(),
        max_iteration=max_iteration,
        seed=seed,
        evaluate=evaluate,
        describe_image=describe_image,
    )
    loop.run(loader, start_iteration=start_iteration)


@dataclass(kw_only=True)
class _TrainingLoop:
    """See `train_loop`."""

    step: TrainingStep
    scheduler: Any
    log: TrainingLog
    checkpointer: Checkpointer
    checkpoint_data: dict[str, Any]
    periods: Periods
    max_iteration: int
    seed: int | None
    evaluate: Callable[[int], MetricLogger | None] | None
    describe_image: Callable[[Any], str]

    def run(self, loader: Iterable[Batch], *, start_iteration: int) -> None:
        logger.info("Start training")
        began = time.perf_counter()
        last, stop = self.max_iteration, False
        if start_iteration > last:
            logger.warning(
                "This run is at iteration %d already, beyond the %d that are wanted now (SOLVER.MAX_ITER): "
                "nothing is trained",
                start_iteration,
                last,
            )
        with (
            Interrupt("finishing this iteration, then saving") as interrupt,
            progress_bar("Training", total=last, completed=start_iteration) as bar,
        ):
            # Loader workers start here, with the signal handlers in place.
            batches = iter(loader) if start_iteration < last else iter(())
            self.step.model.train()
            with _workers_may_end(interrupt):
                for iteration in range(start_iteration + 1, last + 1):
                    batch = self._next_batch(batches, iteration=iteration, interrupt=interrupt)
                    losses, stop = self._iterate(batch, iteration=iteration, interrupt=interrupt)
                    self._do_what_is_due(iteration=iteration, stop=stop)
                    bar.describe(f"Training, loss {sum(losses.values()):.3f}")
                    bar.advance()
            # Not `last` where the run is beyond it: to raise MAX_ITER again would repeat iterations.
            self._save(FINAL_CHECKPOINT, iteration=max(last, start_iteration))
        _log_time(time.perf_counter() - began, iterations=last - start_iteration)
        if stop:
            raise KeyboardInterrupt

    def _next_batch(
        self, batches: Iterator[Batch], *, iteration: int, interrupt: Interrupt
    ) -> Batch:
        self.log.begin()
        try:
            batch = next(batches)
        except StopIteration:
            raise TrainingError(
                f"the data loader ended before iteration {iteration} of {self.max_iteration}; "
                "expected one batch for each"
            ) from None
        except RuntimeError:
            # Workers that are not forked (macOS, Windows) die of the Ctrl-C that we answer to; all of them of a SIGTERM
            # to the whole job.
            if interrupt.requested:
                self._stop(iteration=iteration - 1)
            raise
        self.log.data_came()
        return batch

    def _iterate(
        self, batch: Batch, *, iteration: int, interrupt: Interrupt
    ) -> tuple[dict[str, float], bool]:
        images, targets, ids = batch
        if self.seed is not None:
            _seed_torch(self.seed, iteration=iteration)
        device = self.step.device
        losses = self.step(images.to(device), [target.to(device) for target in targets])
        self.scheduler.step()
        averages, stop = share_losses(losses, stop=interrupt.requested)
        check_losses(
            averages,
            own=losses,
            image_ids=ids,
            iteration=iteration,
            describe=self.describe_image,
        )
        self.log.update(averages)
        return averages, stop

    def _do_what_is_due(self, *, iteration: int, stop: bool) -> None:
        is_last = iteration == self.max_iteration
        lr = float(self.step.optimizer.param_groups[0]["lr"])
        if _is_due(iteration, self.periods.log) or is_last:
            self.log.write(iteration=iteration, lr=lr)
        is_saved = _is_due(iteration, self.periods.checkpoint)
        if is_saved:
            self._save(_numbered(iteration), iteration=iteration)
        if stop and not is_last:
            self._stop(iteration=iteration, is_saved=is_saved)
        if self.evaluate is not None and not stop and _is_due(iteration, self.periods.test):
            losses = self.evaluate(iteration)
            if losses is not None:
                self.log.write_validation(losses, iteration=iteration, lr=lr)
            self.step.model.train()

    def _stop(self, *, iteration: int, is_saved: bool = False) -> None:
        if not is_saved:
            self._save(_numbered(iteration), iteration=iteration)
        logger.info(
            "Stopped after iteration %d of %d, nothing is lost. "
            "To go on from here, run the same command again",
            iteration,
            self.max_iteration,
        )
        raise KeyboardInterrupt

    def _save(self, name: str, *, iteration: int) -> None:
        for key, value in self.step.model.state_dict().items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise TrainingError(
                    f"{key} holds numbers that are not finite after iteration {iteration}, although "
                    "the losses still are; nothing was saved, the last checkpoint is from before. "
                    "Lower SOLVER.BASE_LR or set SOLVER.CLIP_GRAD_NORM"
                )
        self.checkpointer.save(name, **{**self.checkpoint_data, "iteration": iteration})


def _is_due(iteration: int, period: int) -> bool:
    return period > 0 and iteration % period == 0


def _numbered(iteration: int) -> str:
    return f"model_{iteration:07d}"


def _seed_torch(seed: int, *, iteration: int) -> None:
    mixed = (seed * 1_000_003 + iteration) * 65_537 + get_rank()
    torch.manual_seed(mixed % (1 << 63))


@contextmanager
def _workers_may_end(interrupt: Interrupt) -> Iterator[None]:
    """Let loader workers die of what the training was asked to stop by.

    Where a worker dies, torch raises an error wherever this process happens to be, be it in the middle of saving.
    """
    # Windows has no such signal, and only the main thread may handle one.
    number = getattr(signal, "SIGCHLD", signal.SIGINT)
    raise_error = signal.getsignal(number)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if number == signal.SIGINT or not in_main_thread or not callable(raise_error):
        yield
        return

    def child_ended(number: int, frame: FrameType | None) -> None:
        if not interrupt.requested:
            raise_error(number, frame)

    signal.signal(number, child_ended)
    try:
        yield
    finally:
        signal.signal(number, raise_error)


def _log_time(seconds: float, *, iterations: int) -> None:
    logger.info(
        "Total training time: %s (%.4f s / it)",
        datetime.timedelta(seconds=seconds),
        seconds / max(iterations, 1),
    )


def reduce_loss_dict(loss_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Average losses over all processes; the result holds for rank 0 only."""
    return reduce_dict(loss_dict, average=True)
