"""Old import path of the matching of weights to models, which lives in `checkpoint/matching.py`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskrcnn_benchmark.checkpoint.matching import (
        align_and_update_state_dicts as align_and_update_state_dicts,
    )
    from maskrcnn_benchmark.checkpoint.matching import load_state_dict as load_state_dict
    from maskrcnn_benchmark.checkpoint.matching import (
        strip_prefix_if_present as strip_prefix_if_present,
    )

_NAMES = ("align_and_update_state_dicts", "load_state_dict", "strip_prefix_if_present")


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Loaded on first use: nothing in `utils` depends on what lies above it.
    return getattr(importlib.import_module("maskrcnn_benchmark.checkpoint.matching"), name)
