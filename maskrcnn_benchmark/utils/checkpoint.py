"""Old import path of the checkpointers; they live in `checkpoint/` and `build/`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskrcnn_benchmark.build.checkpointer import DetectronCheckpointer as DetectronCheckpointer
    from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer as Checkpointer

# Loaded on first use: nothing in `utils` depends on what lies above it.
_HOMES = {
    "Checkpointer": "maskrcnn_benchmark.checkpoint.checkpointer",
    "DetectronCheckpointer": "maskrcnn_benchmark.build.checkpointer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
