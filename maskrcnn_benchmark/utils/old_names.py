"""Names that stay importable from their old module although they live elsewhere now.

    __getattr__ = old_names(__name__, {"build_rpn": "maskrcnn_benchmark.build.legacy.rpn"})

What lies above a module is loaded when a name of it is asked for, never before.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def old_names(module: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Make the `__getattr__` of a module.

    Args:
        module: its `__name__`.
        homes: old name -> module in which it lives under the same name.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name]), name)

    return find
