"""Old import path of the matching of weights to models, which lives in `checkpoint/matching.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskrcnn_benchmark.utils.old_names import old_names

if TYPE_CHECKING:
    from maskrcnn_benchmark.checkpoint.matching import (
        align_and_update_state_dicts as align_and_update_state_dicts,
    )
    from maskrcnn_benchmark.checkpoint.matching import load_state_dict as load_state_dict
    from maskrcnn_benchmark.checkpoint.matching import (
        strip_prefix_if_present as strip_prefix_if_present,
    )

__getattr__ = old_names(
    __name__,
    {
        "align_and_update_state_dicts": "maskrcnn_benchmark.checkpoint.matching",
        "load_state_dict": "maskrcnn_benchmark.checkpoint.matching",
        "strip_prefix_if_present": "maskrcnn_benchmark.checkpoint.matching",
    },
)
