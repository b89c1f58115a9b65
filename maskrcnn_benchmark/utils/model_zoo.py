"""Old import path of the download cache, which lives in `checkpoint/download.py`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskrcnn_benchmark.checkpoint.download import cache_url as cache_url


def __getattr__(name: str) -> Any:
    if name != "cache_url":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Loaded on first use: nothing in `utils` depends on what lies above it.
    return importlib.import_module("maskrcnn_benchmark.checkpoint.download").cache_url
