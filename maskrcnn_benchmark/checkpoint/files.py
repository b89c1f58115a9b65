"""Checkpoint files: torch's own format (.pth), safetensors and Detectron's pickles (.pkl, read only).

Reading never runs code from the file, so only tensors and plain data come out.
Writing leaves either the old file or the whole new one.
"""

from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path
from typing import IO, Any, cast

import torch

from maskrcnn_benchmark.checkpoint.caffe2 import read_caffe2
from maskrcnn_benchmark.checkpoint.restricted_pickle import first_line
from maskrcnn_benchmark.errors import CheckpointError
from maskrcnn_benchmark.utils.atomic import atomic_write

# First bytes of what people have where a checkpoint should be.
_FOREIGN = (
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself with `git lfs pull`"),
    (b"<", "a web page or XML, probably an error page saved by a download"),
    (b"{", "JSON text"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"\x89HDF", "an HDF5 file"),
)
_ZIP = b"PK\x03\x04"
# A pickle of protocol 2 to 5; torch's format from before 2020 begins so too, then has its mark.
_PICKLES = tuple(bytes((0x80, protocol)) for protocol in (2, 3, 4, 5))
_TORCH_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a .pth, .safetensors or Detectron .pkl file onto the CPU.

    Returns:
        What the file holds; a bare state dict comes back as `{"model": state_dict}`.

    Raises:
        CheckpointError: if there is no such file, it is damaged, is something else, or holds
            objects other than tensors and plain data.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}{_what_is_there(path)}")
    data = _read_safetensors(path) if path.suffix == ".safetensors" else _read_other(path)
    if not isinstance(data, dict):
        raise CheckpointError(
            f"{path} holds a {type(data).__name__}; expected a dict with the key 'model', or a "
            "state dict (name -> tensor)"
        )
    if "model" not in data:
        data = {"model": data}
    _check_state_dict(path, data["model"])
    return data


def _what_is_there(path: Path) -> str:
    if path.is_dir():
        return " (it is a folder; name the file, for example model_final.pth in it)"
    return "" if path.parent.is_dir() else f" (the folder {path.parent} does not exist either)"


def _check_state_dict(path: Path, weights: Any) -> None:
    wrong = weights if not isinstance(weights, dict) else None
    if isinstance(weights, dict):
        wrong = next((v for v in weights.values() if not isinstance(v, torch.Tensor)), None)
    if wrong is not None:
        raise CheckpointError(
            f"{path}: expected weights as name -> tensor, found a {type(wrong).__name__} among "
            "them; save model.state_dict(), alone or under the key 'model'"
        )


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error


def _read_other(path: Path) -> Any:
    _refuse_foreign(path)
    return {"model": read_caffe2(path)} if _is_plain_pickle(path) else _read_torch(path)


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # A remark on the pickle protocol; what cannot be read raises.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds objects that are not tensors or plain data, and loading them could run "
            f"code from the file: {first_line(error)}. Re-save only its weights, where you trust "
            "it: torch.save({'model': model.state_dict()}, ...)"
        ) from error
    except Exception as error:  # Random bytes, read as a pickle, fail in any way there is.
        size = path.stat().st_size
        raise CheckpointError(
            f"{path} ({size} bytes) is damaged or incomplete: {first_line(error)}. "
            "Download or copy it again, or use an older checkpoint"
        ) from error


def _refuse_foreign(path: Path) -> None:
    with open(path, "rb") as file:
        head = file.read(64).lstrip()
    if not head:
        raise CheckpointError(f"{path} is empty; it was never written to its end")
    for start, what in _FOREIGN:
        if head.startswith(start):
            raise CheckpointError(f"{path} is not a checkpoint but {what}")


def _is_plain_pickle(path: Path) -> bool:
    """Whether a file is a pickle that torch did not write: by its content, or by its name."""
    with open(path, "rb") as file:
        head = file.read(64)
    if head.startswith(_ZIP) or _TORCH_MAGIC in head:
        return False
    return path.suffix == ".pkl" or head.startswith(_PICKLES)


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
        raise CheckpointError(
            f"could not write {path}: {cause.strerror or cause}. Nothing was changed: an earlier "
            "checkpoint in this folder is intact. Make room or repair access, then go on from it"
        ) from error
