"""Checkpoint files, read and written.

Reading never runs code from the file, so only tensors and plain data come out.
Writing leaves either the old file or the whole new one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from maskrcnn_benchmark.checkpoint.manifest import Manifest
from maskrcnn_benchmark.checkpoint.opening import open_file
from maskrcnn_benchmark.errors import CheckpointError
from maskrcnn_benchmark.utils.atomic import atomic_write


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a file of weights of any kind and dialect onto the CPU.

    Returns:
        What the file holds, its weights as `{"model": name -> tensor}` under this package's names.

    Raises:
        CheckpointError: if there is no such file, it is damaged, is something else, or holds
            objects other than tensors and plain data.
    """
    opened = open_file(path)
    return {"model": opened.converted.weights, **opened.rest}


class _Watched:
    """A file that remembers why a write failed: torch replaces the reason by its own words."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        self._file.flush()


def write_checkpoint(path: str | os.PathLike[str], data: dict[str, Any]) -> None:
    """Write tensors and plain data in torch's format, whole or not at all.

    Raises:
        CheckpointError: if the disk is full or the file cannot be written for another reason. What
            was at `path` is still there, and no partial file is left.
    """
    path = Path(path)
    watched: _Watched | None = None
    try:
        with atomic_write(path, "wb") as file:
            watched = _Watched(file)
            torch.save(data, cast("IO[bytes]", watched))
    except (OSError, RuntimeError) as error:
        cause = watched.failure if watched is not None and watched.failure else error
        if not isinstance(cause, OSError):
            raise
        raise _not_written(path, cause) from error


def write_safetensors(
    path: str | os.PathLike[str], weights: Mapping[str, Tensor], manifest: Manifest
) -> None:
    """Write weights and what there is to know about them, whole or not at all.

    Raises:
        CheckpointError: as `write_checkpoint`.
    """
    from safetensors.torch import save

    path = Path(path)
    # Each tensor on its own: heads that share a stage share its memory, which the format cannot say.
    tensors = {
        name: value.detach().cpu().contiguous().clone(memory_format=torch.contiguous_format)
        for name, value in weights.items()
    }
    try:
        with atomic_write(path, "wb") as file:
            file.write(save(tensors, metadata=manifest.to_metadata()))
    except OSError as error:
        raise _not_written(path, error) from error


def _not_written(path: Path, cause: OSError) -> CheckpointError:
    return CheckpointError(
        f"could not write {path}: {cause.strerror or cause}. Nothing was changed: an earlier "
        "checkpoint in this folder is intact. Make room or repair access, then go on from it"
    )
