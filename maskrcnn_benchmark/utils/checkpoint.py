"""Old import path of the checkpointers; they live in `checkpoint/` and `build/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskrcnn_benchmark.utils.old_names import old_names

if TYPE_CHECKING:
    from maskrcnn_benchmark.build.checkpointer import DetectronCheckpointer as DetectronCheckpointer
    from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer as Checkpointer

__getattr__ = old_names(
    __name__,
    {
        "Checkpointer": "maskrcnn_benchmark.checkpoint.checkpointer",
        "DetectronCheckpointer": "maskrcnn_benchmark.build.checkpointer",
    },
)
