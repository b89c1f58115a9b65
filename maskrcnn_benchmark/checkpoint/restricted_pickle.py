"""Pickle files of arrays, read without running code: only numpy arrays and plain containers come out.

A pickle names functions to call. This reader knows the few that rebuild arrays, has its own in their
place that check what they are given, and refuses the rest at the name, before anything is called.
"""

from __future__ import annotations

import os
import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import IO, Any

import numpy as np

from maskrcnn_benchmark.errors import CheckpointError

# Booleans, integers, floats, complex numbers, bytes and text.
_CODE = re.compile(r"[biufcSU]\d+")


class _ForbiddenGlobalError(Exception):
    """The file asks for something that is not on the list."""


class _NdarrayMark:
    """What `numpy.ndarray` stands for in a pickle: a word that nothing is done with."""

    __slots__ = ()


class _Dtype:
    """What `numpy.dtype` makes in a pickle: of its state, only the order of bytes is taken over.

    numpy itself would believe a state that declares numbers to be addresses of objects.
    """

    __slots__ = ("dtype",)

    def __init__(self, code: str, *flags: Any) -> None:
        if not _CODE.fullmatch(code):
            raise pickle.UnpicklingError(f"an array of type {code!r}, expected numbers")
        self.dtype: np.dtype[Any] = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order, parts = state[1], state[2:5]
        if any(part is not None for part in parts):
            raise pickle.UnpicklingError("an array of records, expected numbers")
        self.dtype = self.dtype.newbyteorder(order)


class _Array(np.ndarray[Any, Any]):
    """An array whose state is taken over with a plain type only."""

    def __setstate__(self, state: Any, /) -> None:
        version, shape, kind, is_fortran, data = state
        super().__setstate__((version, shape, kind.dtype, is_fortran, data))


def _reconstruct(*_: Any) -> _Array:
    return np.empty(0, dtype=np.uint8).view(_Array)


def _scalar(kind: _Dtype, data: bytes | str) -> Any:
    data = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(data, dtype=kind.dtype, count=1)[0]


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Python 3 writes bytes so in protocol 2; other encodings could import modules."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}, expected latin1")
    return text.encode("latin1")


def _make_empty_bytes() -> bytes:
    return b""


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NdarrayMark,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    # The bytes of an array without elements.
    ("__builtin__", "bytes"): _make_empty_bytes,
    ("collections", "OrderedDict"): OrderedDict,
    # numpy 1 (and Python 2), numpy 2.
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
}


class _Inert:
    """Stands for an object of another program (arguments, a log): takes anything, does nothing."""

    def __init__(self, *args: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        self.state = state


# What training programs leave in a `.pth` beside the weights, for torch's own restricted reader. (what comes in its
# place, name in the file); nothing of the named modules is imported.
INERT_GLOBALS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    *((value, f"{module}.{name}") for (module, name), value in _ADMITTED.items()),
    (_Array, "maskrcnn_benchmark._Array"),  # So that its state may be set.
    # A yacs configuration is a dict with methods; the dict is all that is wanted.
    (OrderedDict, "yacs.config.CfgNode"),
    (OrderedDict, "fvcore.common.config.CfgNode"),
    (OrderedDict, "detectron2.config.config.CfgNode"),
    (OrderedDict, "mmcv.utils.config.ConfigDict"),
    (OrderedDict, "mmengine.config.config.ConfigDict"),
    (_Inert, "argparse.Namespace"),
    (_Inert, "pathlib.PosixPath"),
    (_Inert, "pathlib.WindowsPath"),
    (_Inert, "pathlib._local.PosixPath"),
    # mmengine's log of losses, whose methods are looked up by name.
    (_Inert, "mmengine.logging.history_buffer.HistoryBuffer"),
    (_Inert, "builtins.getattr"),
    (_Inert, "__builtin__.getattr"),
]


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise _ForbiddenGlobalError(f"{module}.{name}")
        admitted = _ADMITTED[module, name]
        # Wrapped anew each time: a pickle may set attributes of what it is given.
        return partial(admitted) if isinstance(admitted, FunctionType) else admitted

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("a reference to data outside of the file")


def first_line(error: Exception) -> str:
    """What went wrong inside a library, short enough for a message of ours."""
    return f"{type(error).__name__}: {(str(error).strip() or 'no details').splitlines()[0]}"


def _check_memo(file: IO[bytes], *, size: int) -> None:
    """Refuse numbers that would make the reader reserve memory out of all proportion to the file."""
    for operation, argument, _ in pickletools.genops(file):
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > size:
            raise pickle.UnpicklingError(f"its object number {argument} in {size} bytes")
    file.seek(0)


def read_pickle(path: str | os.PathLike[str]) -> Any:
    """Read a pickle of numpy arrays, numbers, text, dicts, lists and tuples.

    Text that Python 2 wrote is read as latin1, as its arrays need.

    Raises:
        CheckpointError: if the file names anything else (nothing of it is run), or is damaged.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            _check_memo(file, size=path.stat().st_size)
            return _ArrayUnpickler(file, encoding="latin1").load()
    except _ForbiddenGlobalError as error:
        raise CheckpointError(
            f"{path} is a pickle that asks for {error}, which could run code from the file; "
            "expected numpy arrays, numbers and text only. Nothing was run. Where you trust the "
            "file, re-save its arrays alone: pickle.dump({'blobs': name -> array}, file, 2)"
        ) from None
    except Exception as error:  # Random bytes, read as a pickle, fail in any way there is.
        size = path.stat().st_size
        raise CheckpointError(
            f"{path} ({size} bytes) is damaged or incomplete, or not a pickle of arrays: "
            f"{first_line(error)}. Download or copy it again"
        ) from error
