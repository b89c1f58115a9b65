"""The kinds of files that hold weights, told apart by their content and read without running code from them.

zip with a pickle (.pth), torch's format from before 2020 (.pth), a pickle of arrays (.pkl), a zip of arrays (.npz)
and safetensors. What a file is called does not matter.
"""

from __future__ import annotations

import codecs
import os
import pickle
import struct
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from maskrcnn_benchmark.checkpoint.restricted_pickle import INERT_GLOBALS, first_line, read_pickle
from maskrcnn_benchmark.errors import CheckpointError

Kind = Literal["torch", "pickle", "npz", "safetensors"]

# First bytes of what people have where a checkpoint should be.
_FOREIGN = (
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself with `git lfs pull`"),
    (b"<", "a web page or XML, probably an error page saved by a download"),
    (b"{", "JSON text"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"\xfd7zXZ", "an xz archive; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"\x89HDF", "an HDF5 file"),
)
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
# A pickle of protocol 2 to 5; torch's format from before 2020 begins so too, then has its mark.
_PICKLES = tuple(bytes((0x80, protocol)) for protocol in (2, 3, 4, 5))
_TORCH_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
# Weights hardly shrink when they are compressed: what grows so much more is made to fill the memory.
MAX_EXPANSION = 100
EXPANSION_COUNTS_FROM = 1 << 26  # bytes


@dataclass(frozen=True, kw_only=True)
class RawFile:
    """What a file holds, as it is.

    Attributes:
        path: the file.
        kind: how it is written.
        data: tensors or arrays, and plain data.
        metadata: texts beside the weights; only safetensors have such.
    """

    path: Path
    kind: Kind
    data: Any
    metadata: dict[str, str] = field(default_factory=dict)


def read_raw(path: str | os.PathLike[str]) -> RawFile:
    """Read a file of weights onto the CPU.

    Raises:
        CheckpointError: if there is no such file, it is damaged, is something else, or asks for more than tensors,
            arrays and plain data.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}{_what_is_there(path)}")
    kind = find_kind(path)
    metadata: dict[str, str] = {}
    data: Any
    if kind == "safetensors":
        data, metadata = _read_safetensors(path)
    elif kind == "npz":
        data = _read_npz(path)
    elif kind == "pickle":
        data = read_pickle(path)
    else:
        data = _read_torch(path)
    return RawFile(path=path, kind=kind, data=data, metadata=metadata)


def find_kind(path: Path) -> Kind:
    """Tell by its content what a file is.

    Raises:
        CheckpointError: if it is empty, or something else than weights.
    """
    with open(path, "rb") as file:
        head = file.read(64)
    if not head.strip():
        raise CheckpointError(f"{path} is empty; it was never written to its end")
    if head.startswith(_ZIP):
        return _kind_of_zip(path)
    if _looks_like_safetensors(head, path.stat().st_size):
        return "safetensors"
    for start, what in _FOREIGN:
        if head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(start):
            raise CheckpointError(f"{path} is not a checkpoint but {what}")
    if path.suffix == ".safetensors":
        return "safetensors"
    if _TORCH_MAGIC in head:
        return "torch"
    return "pickle" if path.suffix == ".pkl" or head.startswith(_PICKLES) else "torch"


def _what_is_there(path: Path) -> str:
    if path.is_dir():
        return " (it is a folder; name the file, for example model_final.pth in it)"
    return "" if path.parent.is_dir() else f" (the folder {path.parent} does not exist either)"


def _looks_like_safetensors(head: bytes, size: int) -> bool:
    """Eight bytes with the length of a header, then the header in JSON."""
    return len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < size


def _kind_of_zip(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _damaged(path, error) from error
    size = path.stat().st_size
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > max(MAX_EXPANSION * size, EXPANSION_COUNTS_FROM):
        raise CheckpointError(
            f"{path} ({size} bytes) would unpack to {unpacked} bytes, more than {MAX_EXPANSION} times its size; "
            "weights do not shrink so. It is not read: get the file from its source again"
        )
    names = [entry.filename for entry in entries]
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    if any("/code/" in name for name in names):
        raise CheckpointError(
            f"{path} is a TorchScript program, which holds code; expected weights. Save those where the program was "
            "made: torch.save(module.state_dict(), ...)"
        )
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return "torch"
    shown = ", ".join(names[:3]) or "nothing"
    raise CheckpointError(
        f"{path} is a zip archive of something else ({shown}{', ...' if len(names) > 3 else ''}); expected torch's "
        "format or arrays of numpy (.npz). Unpack it, and give the file of weights in it"
    )


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return weights, dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} ({path.stat().st_size} bytes) is not a readable safetensors file: {error}. "
            "Download or copy it again"
        ) from error


def _read_npz(path: Path) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    name = ""
    try:
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                arrays[name] = file[name]
    except ValueError as error:
        if "allow_pickle" not in str(error) and "Object arrays" not in str(error):
            raise _damaged(path, error) from error
        raise CheckpointError(
            f"{path}: {name!r} is an array of Python objects, and reading those could run code from the file; "
            "expected arrays of numbers. Nothing was run. Where you trust the file, save its numbers alone with "
            "numpy.savez"
        ) from error
    except Exception as error:  # The head of an array is text, which fails in any way there is.
        raise _damaged(path, error) from error
    return arrays


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(INERT_GLOBALS):
            # A remark on the pickle protocol; what cannot be read raises.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported operand" in str(error):
            raise CheckpointError(
                f"{path} ({path.stat().st_size} bytes) is damaged or incomplete, or no file of weights: expected a zip "
                f"archive or a pickle, it begins with {_head(path)!r}. Download or copy it again"
            ) from error
        raise CheckpointError(
            f"{path} holds objects that are not tensors or plain data{_culprit(error)}, and loading them could run "
            "code from the file. Nothing was run. Re-save only its weights, where you trust it: "
            "torch.save({'model': model.state_dict()}, ...)"
        ) from error
    except Exception as error:  # Random bytes, read as a pickle, fail in any way there is.
        raise _damaged(path, error) from error


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(16)


def _culprit(error: Exception) -> str:
    """The name that a file asks for, out of torch's long message."""
    words = str(error)
    if "GLOBAL " not in words:
        return ""
    return f" ({words.split('GLOBAL ', 1)[1].split()[0]})"


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} ({path.stat().st_size} bytes) is damaged or incomplete: {first_line(error)}. "
        "Download or copy it again, or use an older checkpoint"
    )
