"""The log line of the training loop, and the record of the same numbers."""

from __future__ import annotations

import datetime
import logging
import sys
import time
from collections.abc import Mapping, Sequence

import torch

from maskrcnn_benchmark.engine.metric_writers import MetricWriter
from maskrcnn_benchmark.utils.metric_logger import MetricLogger

MIB = 1 << 20


def peak_memory_mib(device: torch.device) -> float:
    """Return the most memory so far in MiB: of tensors on a GPU; else of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MIB
    try:
        import resource
    except ImportError:  # Windows.
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts KiB, macOS bytes.
    return peak / MIB if sys.platform == "darwin" else peak / 1024


class TrainingLog:
    """Times iterations, smooths numbers, and writes them every so often."""

    def __init__(
        self,
        *,
        logger: logging.Logger,
        max_iteration: int,
        device: torch.device,
        writers: Sequence[MetricWriter] = (),
    ) -> None:
        """Start the clock; see `train_loop` for the arguments."""
        self.meters = MetricLogger(delimiter="  ")
        self._logger = logger
        self._max_iteration = max_iteration
        self._device = device
        self._writers = writers
        self._iteration_began = self._data_came = time.perf_counter()

    def begin(self) -> None:
        """Start the clock of the next iteration (time spent between iterations is not counted)."""
        self._iteration_began = time.perf_counter()

    def data_came(self) -> None:
        """Note that the batch is there."""
        self._data_came = time.perf_counter()

    def update(self, losses: Mapping[str, float]) -> None:
        """Take in the losses of the iteration that ends now."""
        now = time.perf_counter()
        self.meters.update(loss=sum(losses.values()), **losses)
        self.meters.update(
            time=now - self._iteration_began, data=self._data_came - self._iteration_began
        )

    def write(self, *, iteration: int, lr: float) -> None:
        """Write the line and the record.

        Args:
            iteration: updates made so far.
            lr: learning rate of the first group, after the schedule's step.
        """
        memory = self._write_line("", self.meters, iteration=iteration, lr=lr)
        meters = self.meters.meters
        record = {
            "kind": "train",
            "iteration": iteration,
            "eta_seconds": self._seconds_left(iteration),
            **{name: meter.median for name, meter in meters.items()},
            "lr": lr,
            "max_mem_mib": memory,
            "mean": {name: meter.global_avg for name, meter in meters.items()},
        }
        for writer in self._writers:
            writer.write(record)

    def write_validation(self, meters: MetricLogger, *, iteration: int, lr: float) -> None:
        """Write the line of losses on the test sets; whoever computed them keeps the record."""
        self._write_line("[Validation]: ", meters, iteration=iteration, lr=lr)

    def _write_line(self, start: str, meters: MetricLogger, *, iteration: int, lr: float) -> float:
        memory = peak_memory_mib(self._device)
        self._logger.info(
            "%seta: %s  iter: %d  %s  lr: %.6f  max mem: %.0f",
            start,
            datetime.timedelta(seconds=int(self._seconds_left(iteration))),
            iteration,
            meters,
            lr,
            memory,
        )
        return memory

    def _seconds_left(self, iteration: int) -> float:
        return self.meters.time.global_avg * (self._max_iteration - iteration)
