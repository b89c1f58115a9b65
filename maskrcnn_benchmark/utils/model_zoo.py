"""Old import path of the download cache, which lives in `checkpoint/download.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskrcnn_benchmark.utils.old_names import old_names

if TYPE_CHECKING:
    from maskrcnn_benchmark.checkpoint.download import cache_url as cache_url

__getattr__ = old_names(__name__, {"cache_url": "maskrcnn_benchmark.checkpoint.download"})
