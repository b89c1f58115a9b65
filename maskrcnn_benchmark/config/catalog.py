"""Data sets and weights by name, through the catalog file that PATHS_CATALOG names."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from maskrcnn_benchmark.config.defaults import Config
from maskrcnn_benchmark.config.suggest import nearest
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.utils.imports import import_file

_PACKAGED = "maskrcnn_benchmark.config.paths_catalog"
_PACKAGED_TAIL = ("maskrcnn_benchmark", "config", "paths_catalog.py")


def load_catalog(path: str | os.PathLike[str]) -> ModuleType:
    """Import a catalog file: a Python file with the classes DatasetCatalog and ModelCatalog.

    The package's own is found wherever the package lies: a configuration written on one machine works on another.

    Raises:
        ConfigError: there is no such file, it fails, or it lacks one of the classes.
    """
    file = Path(path)
    if file.parts[-3:] == _PACKAGED_TAIL:
        packaged = importlib.import_module(_PACKAGED)
        if not file.exists() or file.samefile(str(packaged.__file__)):
            return packaged
    if file.suffix != ".py" or not file.is_file():
        raise ConfigError(
            f"PATHS_CATALOG: expected a Python file with DatasetCatalog and ModelCatalog, got "
            f"{os.fspath(path)!r}, which is no such file."
        )
    try:
        module = import_file("user_paths_catalog", file)
    except Exception as error:
        raise ConfigError(
            f"PATHS_CATALOG: {os.fspath(path)!r} fails when imported: {error!r}. Mend the file."
        ) from error
    for name in ("DatasetCatalog", "ModelCatalog"):
        if not hasattr(module, name):
            raise ConfigError(
                f"PATHS_CATALOG: {os.fspath(path)!r} has no class {name}; expected DatasetCatalog "
                "and ModelCatalog, as in maskrcnn_benchmark/config/paths_catalog.py."
            )
    return module


def find_dataset(config: Config, name: str) -> dict[str, Any]:
    """Return {"factory": class name, "args": keyword arguments} of a data set.

    DATASETS.CUSTOM comes first, then the catalog.

    Raises:
        ConfigError: neither knows the name.
    """
    custom = config.DATASETS.CUSTOM
    if name in custom:
        return _custom_dataset(custom[name])
    catalog = load_catalog(config.PATHS_CATALOG).DatasetCatalog
    try:
        found: dict[str, Any] = catalog.get(name)
    except (KeyError, RuntimeError, ConfigError) as error:
        near = nearest(name, [*custom, *getattr(catalog, "DATASETS", ())])
        raise ConfigError(
            f"the data set {name!r} is neither in DATASETS.CUSTOM nor in DatasetCatalog of "
            f"{config.PATHS_CATALOG}{near or '.'} Add it there, or give it directly: DATASETS.CUSTOM, or "
            "--train-json and --train-images on the command line."
        ) from error
    return found


def _custom_dataset(entry: Mapping[str, str]) -> dict[str, Any]:
    """Return the same for an entry of DATASETS.CUSTOM; its names tell the format."""
    if "ann_file" in entry:
        return {
            "factory": "COCODataset",
            "args": {"root": entry["img_dir"], "ann_file": entry["ann_file"]},
        }
    if "ann_dir" in entry:
        return {"factory": "CityScapesDataset", "args": dict(entry)}
    args: dict[str, Any] = dict(entry)
    if "classes" in args:
        args["classes"] = tuple(name.strip() for name in args["classes"].split(","))
    return {"factory": "PascalVOCDataset", "args": args}


def find_weights(config: Config, name: str) -> str:
    """Return the address that `catalog://name` stands for.

    Raises:
        ConfigError: the catalog does not know the name.
    """
    address: str = load_catalog(config.PATHS_CATALOG).ModelCatalog.get(name)
    return address
