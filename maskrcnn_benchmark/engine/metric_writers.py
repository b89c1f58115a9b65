"""Where the numbers of a run go besides the console: a file of JSON lines, TensorBoard."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from maskrcnn_benchmark.errors import MissingExtraError
from maskrcnn_benchmark.utils.atomic import atomic_write

# One record: "kind" ("train" or "test"), "iteration", and numbers, possibly in nested mappings.
Record = Mapping[str, Any]

METRICS_FILE = "metrics.jsonl"


class MetricWriter(Protocol):
    """Takes one record per log line."""

    def write(self, record: Record) -> None:
        """Keep a record."""

    def close(self) -> None:
        """Finish the files."""


class JsonLinesWriter:
    """Appends each record to `metrics.jsonl` as one line.

    A resumed run first drops the records after the iteration it goes on from, and a line that a
    kill cut short; so the file reads as if the run had never been interrupted.
    """

    def __init__(self, folder: str | os.PathLike[str], *, start_iteration: int = 0) -> None:
        """Open the file in `folder`, shortened to `start_iteration`."""
        path = Path(folder) / METRICS_FILE
        if path.exists():
            kept = [
                json.dumps(record) + "\n"
                for record in read_metrics(path)
                if record.get("iteration", 0) <= start_iteration
            ]
            with atomic_write(path) as file:
                file.writelines(kept if start_iteration else [])
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (open for the whole run)

    def write(self, record: Record) -> None:
        """Append a line; it is in the file when this returns."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the records of a metrics file in order; lines that were cut short are left out."""
    records = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(record, dict):
                records.append(record)
    return records


class TensorBoardWriter:
    """Writes every number as a scalar into `FOLDER/tensorboard`."""

    def __init__(self, folder: str | os.PathLike[str], *, start_iteration: int = 0) -> None:
        """Open the event file; points after `start_iteration` from an earlier process are hidden.

        Raises:
            MissingExtraError: if tensorboard is not installed.
        """
        try:
            tensorboard = importlib.import_module("torch.utils.tensorboard")
        except ImportError as error:
            raise MissingExtraError(
                "tensorboard", extra="tensorboard", purpose="LOG.TENSORBOARD on"
            ) from error
        self._writer = tensorboard.SummaryWriter(
            os.path.join(folder, "tensorboard"),
            purge_step=start_iteration + 1 if start_iteration else None,
        )

    def write(self, record: Record) -> None:
        """Add a point to each curve."""
        numbers = {k: v for k, v in record.items() if k not in ("kind", "iteration")}
        for name, value in _flatten(numbers, record["kind"]):
            self._writer.add_scalar(name, value, record["iteration"])

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()


def _flatten(numbers: Record, prefix: str) -> list[tuple[str, float]]:
    flat = []
    for key, value in numbers.items():
        if isinstance(value, Mapping):
            flat += _flatten(value, f"{prefix}/{key}")
        elif isinstance(value, (int, float)):
            flat.append((f"{prefix}/{key}", float(value)))
    return flat


def open_writers(
    folder: str | os.PathLike[str],
    *,
    start_iteration: int = 0,
    tensorboard: Literal["auto", "on", "off"] = "auto",
) -> list[MetricWriter]:
    """Open the files of a run.

    Args:
        folder: the run's folder.
        start_iteration: where a resumed run goes on.
        tensorboard: "auto": if it is installed; "on": it must be.

    Raises:
        MissingExtraError: if TensorBoard must be there and is not.
    """
    writers: list[MetricWriter] = []
    if tensorboard != "off":
        try:
            writers.append(TensorBoardWriter(folder, start_iteration=start_iteration))
        except MissingExtraError:
            if tensorboard == "on":
                raise
    return [JsonLinesWriter(folder, start_iteration=start_iteration), *writers]
