"""One door for weights: a file of any kind, in any dialect -> weights under this package's names.

converted = maskrcnn_benchmark.checkpoint.load("model_final_f10217.pkl")
converted.dialect, converted.settings, converted.weights
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskrcnn_benchmark.checkpoint.dialects import NAMES, UNKNOWN, find_dialect, mmdet
from maskrcnn_benchmark.checkpoint.dialects.base import Converted
from maskrcnn_benchmark.checkpoint.dialects.native import is_ours, settings_of
from maskrcnn_benchmark.checkpoint.download import cache_url
from maskrcnn_benchmark.checkpoint.formats import RawFile, read_raw
from maskrcnn_benchmark.checkpoint.manifest import read_manifest
from maskrcnn_benchmark.checkpoint.matching import strip_prefix_if_present
from maskrcnn_benchmark.errors import CheckpointError

logger = logging.getLogger(__name__)

BACKGROUND = "__background__"
# Where programs put the weights in what they save; the first that is there counts.
_PLACES = ("model", "state_dict", "model_state_dict", "blobs")

_COUNTER = "num_batches_tracked"

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
    weights = strip_prefix_if_present(weights, "module.")
    manifest = read_manifest(raw.metadata, weights, path=raw.path)
    if manifest is not None:
        rest |= manifest.to_rest()
    dialect = find_dialect({name: tuple(value.shape) for name, value in weights.items()})
    converted = _as_it_is(raw, weights) if dialect is None else _convert(raw, dialect, weights)
    if converted.dialect == "mmdet":
        converted = mmdet.refine(converted, rest.get("meta"))
    if is_ours(rest):
        converted = replace(converted, dialect="native", settings=settings_of(rest))
    _take_over_names(rest)
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
    place = next((key for key in _PLACES if key in data), None)
    found = data if place is None else data[place]
    rest = {} if place is None else {key: value for key, value in data.items() if key != place}
    if not isinstance(found, dict):
        raise CheckpointError(
            f"{raw.path} holds a {type(found).__name__} under the key {place!r}; expected weights as name -> tensor"
        )
    if raw.kind in ("pickle", "npz"):
        return _arrays_to_tensors(found), rest
    found = {**found, **_arrays_to_tensors(found)}
    for value in found.values():
        if not isinstance(value, Tensor):
            raise CheckpointError(
                f"{raw.path}: expected weights as name -> tensor, found a {type(value).__name__} among them; save "
                "model.state_dict(), alone or under the key 'model'"
            )
    return found, rest


def _arrays_to_tensors(found: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Arrays of numbers; what else lies among them (a learning rate, text) is left out."""
    return {
        # A copy: the array may be read-only, or in another machine's byte order.
        name: torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("="), order="C"))
        for name, value in found.items()
        if isinstance(name, str) and isinstance(value, np.ndarray) and value.dtype.kind in "fiub"
    }


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
