"""One door for weights: a file of any kind, in any dialect -> weights under this package's names.

converted = maskrcnn_benchmark.checkpoint.load("model_final_f10217.pkl")
converted.dialect, converted.settings, converted.weights
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskrcnn_benchmark.checkpoint.dialects import NAMES, UNKNOWN, find_dialect, mmdet
from maskrcnn_benchmark.checkpoint.dialects.base import Converted
from maskrcnn_benchmark.checkpoint.dialects.native import is_ours, settings_of
from maskrcnn_benchmark.checkpoint.download import cache_url
from maskrcnn_benchmark.checkpoint.formats import (
    EXPANSION_COUNTS_FROM,
    MAX_EXPANSION,
    RawFile,
    read_raw,
)
from maskrcnn_benchmark.checkpoint.manifest import read_manifest
from maskrcnn_benchmark.checkpoint.matching import strip_prefix_if_present
from maskrcnn_benchmark.errors import CheckpointError

logger = logging.getLogger(__name__)

BACKGROUND = "__background__"
# Where programs put the weights in what they save; the first that holds a dict counts. Averages over the training come
# last: where both are there, the weights themselves are meant.
_PLACES = (
    *("model", "state_dict", "model_state_dict", "model_state", "blobs", "weights", "params"),
    *("net", "network", "model_ema", "state_dict_ema", "ema_state_dict"),
)
# What torch.compile, FSDP and activation checkpointing put into names, wherever they wrapped a module.
_WRAPPERS = re.compile(r"(^|\.)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# torch's AveragedModel counts the steps it has averaged over.
_AVERAGED = "n_averaged"
# Modules of users around a known network (`model.` of Lightning, `detector.`), one in the other.
_MOST_WRAPPERS = 3

_COUNTER = "num_batches_tracked"
_DTYPES = (
    *(torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
)
_LONGEST_NUMBER = 8  # bytes; numpy has longer ones, torch has not

FindInCatalog = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class LoadedFile:
    """A file of weights, read and understood.

    Attributes:
        path: the file on this machine.
        converted: the weights, and what they need.
        rest: what the file holds beside them: iteration, optimizer, config, class_names, ...
    """

    path: str
    converted: Converted
    rest: dict[str, Any]


def load(
    source: str | os.PathLike[str], *, find_in_catalog: FindInCatalog | None = None
) -> Converted:
    """Read weights from anywhere, in any dialect, without running code from them.

    Args:
        source: path, http(s) URL or `catalog://` name.
        find_in_catalog: what comes after `catalog://` -> path or URL; `build.checkpointer.open_weights` knows the
            catalog of a configuration.

    Returns:
        The weights under this package's names, and the configuration keys that they need.

    Raises:
        CheckpointError: if they cannot be fetched or read, or are not weights.
    """
    return open_source(source, find_in_catalog=find_in_catalog).converted


def open_source(
    source: str | os.PathLike[str], *, find_in_catalog: FindInCatalog | None = None
) -> LoadedFile:
    """Fetch what the source names if need be, and open it."""
    return open_file(fetch(source, find_in_catalog=find_in_catalog))


def fetch(source: str | os.PathLike[str], *, find_in_catalog: FindInCatalog | None = None) -> str:
    """The path of what is meant by a path, http(s) URL or `catalog://` name; downloaded once."""
    name = os.fspath(source)
    if name.startswith("catalog://"):
        if find_in_catalog is None:
            raise CheckpointError(f"{name}: no catalog of models is known here; give a path")
        name = find_in_catalog(name.removeprefix("catalog://"))
        logger.info("It stands for %s", name)
    return cache_url(name) if name.startswith(("http://", "https://")) else name


def open_file(path: str | os.PathLike[str]) -> LoadedFile:
    """Read a file, find the weights in it and bring them under this package's names.

    Raises:
        CheckpointError: as `load`.
    """
    raw = read_raw(path)
    weights, rest = _split(raw)
    weights = _unwrap(weights)
    manifest = read_manifest(raw.metadata, weights, path=raw.path)
    if manifest is not None:
        rest |= manifest.to_rest()
    dialect = find_dialect(_shapes(weights))
    converted = _as_it_is(raw, weights) if dialect is None else _convert(raw, dialect, weights)
    if converted.dialect == "mmdet":
        converted = mmdet.refine(converted, rest.get("meta"))
    if is_ours(rest):
        converted = replace(converted, dialect="native", settings=settings_of(rest))
    _take_over_names(rest)
    _leave_out_strange(rest, path=raw.path)
    return LoadedFile(path=os.fspath(path), converted=converted, rest=rest)


def _convert(raw: RawFile, dialect: Any, weights: dict[str, Tensor]) -> Converted:
    try:
        converted: Converted = dialect.convert(weights)
    except CheckpointError as error:
        raise CheckpointError(f"{raw.path}: {error}") from error
    if not converted.weights:
        raise _foreign(raw, weights)
    # Norms count the batches that they have seen: nothing that anybody misses.
    unused = tuple(name for name in converted.unused if not name.endswith(_COUNTER))
    converted = replace(converted, unused=unused)
    if converted.dialect not in ("native", "legacy"):
        what = "a detector" if converted.is_detector else "a backbone"
        known = len(weights) - len(converted.unused)
        name = NAMES.get(converted.dialect, converted.dialect)
        logger.info("%s holds weights of %s in the dialect of %s", raw.path, what, name)
        logger.debug("%d of its %d arrays are used", known, len(weights))
    return converted


def _as_it_is(raw: RawFile, weights: dict[str, Tensor]) -> Converted:
    """Names of no known dialect: a model of the user's own, whose names may fit as they are."""
    if raw.kind in ("pickle", "npz"):
        raise _foreign(raw, weights)
    return Converted(dialect=UNKNOWN, weights=weights, is_detector=False)


def _foreign(raw: RawFile, weights: Mapping[str, Tensor]) -> CheckpointError:
    shown = ", ".join(list(weights)[:3]) or "none"
    return CheckpointError(
        f"{raw.path}: none of its {len(weights)} arrays ({shown}) has a name that is known; expected weights of "
        f"{', '.join(NAMES.values())}. Is it the right file? Weights of other projects can be saved as .pth or "
        ".safetensors under this package's names"
    )


def _split(raw: RawFile) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights in a file, and the rest."""
    data = raw.data
    if not isinstance(data, dict):
        raise CheckpointError(
            f"{raw.path} holds a {type(data).__name__}; expected a dict with the key 'model', or a state dict "
            "(name -> tensor); of Detectron's weights: a dict of arrays, alone or under the key 'blobs'"
        )
    place = next((key for key in _PLACES if isinstance(data.get(key), dict)), None)
    if place is None:  # A bare state dict; of anything else under such a key the reader is told.
        there = (key for key in _PLACES if not isinstance(data.get(key, raw), Tensor | np.ndarray))
        place = next((key for key in there if key in data), None)
    found = data if place is None else data[place]
    rest = {} if place is None else {key: value for key, value in data.items() if key != place}
    if not isinstance(found, dict):
        raise CheckpointError(
            f"{raw.path} holds a {type(found).__name__} under the key {place!r}; expected weights as name -> tensor"
        )
    _check_size(raw, found)
    if raw.kind in ("pickle", "npz"):
        return _arrays_to_tensors(found), rest
    found = {**found, **_arrays_to_tensors(found)}
    for name, value in found.items():
        if not isinstance(value, Tensor) or not isinstance(name, str):
            what = f"a {type(value).__name__}" if isinstance(name, str) else f"the name {name!r}"
            raise CheckpointError(
                f"{raw.path}: expected weights as name -> tensor, found {what} among them; save "
                "model.state_dict(), alone or under the key 'model'"
            )
        _check_tensor(raw, name, value)
    if not found:
        raise CheckpointError(
            f"{raw.path} holds no weights at all; expected name -> tensor. Save model.state_dict(), alone or under the "
            "key 'model'"
        )
    return found, rest


def _check_size(raw: RawFile, found: Mapping[Any, Any]) -> None:
    """Refuse weights that share so much memory, or repeat a number so often, that a copy would fill this machine's."""
    numbers = [value for value in found.values() if isinstance(value, Tensor | np.ndarray)]
    size = sum(
        value.numel() * value.element_size() if isinstance(value, Tensor) else value.nbytes
        for value in numbers
    )
    there = raw.path.stat().st_size
    if size > max(MAX_EXPANSION * there, EXPANSION_COUNTS_FROM):
        raise CheckpointError(
            f"{raw.path} ({there} bytes) would become {size} bytes of weights, more than {MAX_EXPANSION} times its "
            "size; no network does so. It is not read: get the file from its source again"
        )


def _check_tensor(raw: RawFile, name: str, value: Tensor) -> None:
    """Refuse what is no array of numbers that a network could take over."""
    if value.layout is not torch.strided:
        what = f"of layout {value.layout}"
    elif value.device.type != "cpu":
        what = f"on the device {value.device} and without numbers"
    elif value.dtype not in _DTYPES:
        what = f"of type {value.dtype}"
    else:
        return
    raise CheckpointError(
        f"{raw.path}: {name} is a tensor {what}; expected dense numbers of type float32, float16, bfloat16 or float64. "
        "Convert it where the file was made"
    )


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in weights.items()}


def _unwrap(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights without what wrappers have put into their names.

    Whatever else is in front of all of them goes too, if there is a known dialect underneath.
    """
    plain = {_WRAPPERS.sub(r"\1", name): value for name, value in weights.items()}
    if len(plain) < len(weights):
        return weights
    others = {name: value for name, value in plain.items() if name != _AVERAGED}
    if others and all(name.startswith("module.") for name in others):
        plain = strip_prefix_if_present(others, "module.")
    inner = plain
    for _ in range(_MOST_WRAPPERS):
        if find_dialect(_shapes(inner)) is not None:
            return inner
        starts = {name.partition(".")[0] for name in inner if "." in name}
        if len(starts) != 1:
            break
        stripped = strip_prefix_if_present(inner, f"{starts.pop()}.")
        if stripped.keys() == inner.keys():
            break
        inner = stripped
    return inner if find_dialect(_shapes(inner)) is not None else plain


def _arrays_to_tensors(found: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Arrays of numbers; what else lies among them (a learning rate, text) is left out."""
    return {
        # A copy: the array may be read-only, or in another machine's byte order.
        name: torch.from_numpy(np.array(value, dtype=_dtype_of(value), order="C"))
        for name, value in found.items()
        if isinstance(name, str) and isinstance(value, np.ndarray) and value.dtype.kind in "fiub"
    }


def _dtype_of(array: Any) -> Any:
    """The type of an array's numbers as torch knows it."""
    is_longer = array.dtype.kind == "f" and array.dtype.itemsize > _LONGEST_NUMBER
    return np.dtype(np.float64) if is_longer else array.dtype.newbyteorder("=")


def _take_over_names(rest: dict[str, Any]) -> None:
    """Class names where mmdetection puts them -> `class_names`, background first."""
    meta = rest.get("meta")
    if "class_names" in rest or not isinstance(meta, dict):
        return
    described = meta.get("dataset_meta")
    names = (
        meta.get("CLASSES") or (described or {}).get("classes")
        if isinstance(described, dict | None)
        else None
    )
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        rest["class_names"] = [BACKGROUND, *names]


def _is_list_of(kind: type, value: Any) -> bool:
    return isinstance(value, list | tuple) and all(type(each) is kind for each in value)


# What this package writes beside weights, and what it must be to be of use. Programs of others use the same words.
_BESIDE: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("class_names", "a list of names", partial(_is_list_of, str)),
    ("category_ids", "a list of numbers", partial(_is_list_of, int)),
    ("manifest", "a dict", lambda value: isinstance(value, dict)),
    (
        "keypoints",
        "a dict with a list of names",
        lambda value: isinstance(value, dict) and _is_list_of(str, value.get("names")),
    ),
)


def _leave_out_strange(rest: dict[str, Any], *, path: os.PathLike[str]) -> None:
    """Take out what has a name of this package's but is something else."""
    for key, expected, is_right in _BESIDE:
        if rest.get(key) is not None and not is_right(rest[key]):
            logger.warning(
                "%s: expected %s under %r, found %.80r; it is not used",
                path,
                expected,
                key,
                rest.pop(key),
            )
