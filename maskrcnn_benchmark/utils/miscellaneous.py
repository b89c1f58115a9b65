"""Small files that a run leaves in its folder."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from maskrcnn_benchmark.utils.atomic import atomic_write
from maskrcnn_benchmark.utils.comm import is_main_process

logger = logging.getLogger(__name__)


class _Dumps(Protocol):
    def dump(self) -> str: ...


def mkdir(path: str | os.PathLike[str]) -> None:
    """Make a folder and those above it; one that exists is fine."""
    os.makedirs(path, exist_ok=True)


def save_config(cfg: _Dumps, path: str | os.PathLike[str]) -> None:
    """Write `cfg.dump()` to a file, in the first process only."""
    if is_main_process():
        with atomic_write(path) as file:
            file.write(cfg.dump())


def save_labels(dataset_list: Iterable[Any], output_dir: str | os.PathLike[str]) -> None:
    """Write `output_dir/labels.json`: dataset category id -> name, over all datasets.

    Datasets made of others (`.datasets`) are looked into; one without `categories` is left out with
    a warning. Nothing is written when no dataset has any.
    """
    if not is_main_process():
        return
    names: dict[int, str] = {}
    for dataset in _leaves(dataset_list):
        categories = getattr(dataset, "categories", None)
        if categories is None:
            logger.warning(
                "Dataset %s has no categories, labels.json will not name its classes",
                type(dataset).__name__,
            )
            continue
        names.update(categories)
    if not names:
        return
    path = Path(output_dir) / "labels.json"
    logger.info("Saving labels mapping into %s", path)
    with atomic_write(path) as file:
        json.dump(names, file, indent=2)


def _leaves(datasets: Iterable[Any]) -> Iterator[Any]:
    for dataset in datasets:
        parts = getattr(dataset, "datasets", None)
        if parts is None:
            yield dataset
        else:
            yield from _leaves(parts)
