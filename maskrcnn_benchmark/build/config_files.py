"""Where the configuration files that come with the package are.

In a checkout they lie in `configs/` beside the package; a wheel carries them inside it (setup.py).
"""

from __future__ import annotations

import difflib
from functools import lru_cache
from pathlib import Path

from maskrcnn_benchmark.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]


@lru_cache(maxsize=1)
def configs_folder() -> Path:
    """Return the folder of the shipped configs.

    Raises:
        ConfigError: if the installation has none.
    """
    candidates = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise ConfigError(
        f"This installation has no folder of configs (looked at {candidates[0]} and "
        f"{candidates[1]}). Install the package again, or give the path of a YAML file."
    )


def list_configs() -> list[str]:
    """Names of all shipped configs, relative to their folder, sorted."""
    folder = configs_folder()
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml"))


def find_config(name: str | Path) -> Path:
    """Find a config by its path, or by its name relative to the shipped configs.

    `configs/caffe2/x.yaml`, `caffe2/x.yaml` and `caffe2/x` are the same shipped file; a file that
    exists at the given path comes first.

    Raises:
        ConfigError: if there is no such file; the message names the nearest shipped ones.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise ConfigError(f"Expected a YAML file, got the folder '{name}'.")
    if not path.is_absolute():
        wanted = path.as_posix().removeprefix("./").removeprefix("configs/")
        for candidate in (wanted, f"{wanted}.yaml"):
            shipped = configs_folder() / candidate
            if shipped.is_file():
                return shipped
    raise ConfigError(_not_found(path))


def _not_found(path: Path) -> str:
    names = list_configs()
    wanted = path.as_posix().removeprefix("./").removeprefix("configs/")
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    if not near:
        near = [name for name in names if path.stem and path.stem in name][:3]
    hint = (
        f" Did you mean {' or '.join(near)}?"
        if near
        else f" {len(names)} configs come with the package."
    )
    return f"Config file '{path}' was not found, neither as a path nor in {configs_folder()}.{hint}"
