"""Python files loaded by their path."""

from __future__ import annotations

import importlib.util
import os
import sys
from types import ModuleType


def import_file(
    module_name: str, file_path: str | os.PathLike[str], make_importable: bool = False
) -> ModuleType:
    """Run a Python file and return it as a module.

    Args:
        module_name: the module's `__name__`.
        file_path: the file.
        make_importable: whether `import module_name` finds it from now on.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if it is not a Python file.
    """
    path = os.fspath(file_path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"cannot import {module_name!r}: there is no file {path!r}")
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {module_name!r}: {path!r} is not a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if make_importable:
        sys.modules[module_name] = module
    return module
