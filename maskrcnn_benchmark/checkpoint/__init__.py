"""Weights on disk: written whole or not at all, read without running code, in any dialect, matched by name."""

from __future__ import annotations

from maskrcnn_benchmark.checkpoint.opening import load

__all__ = ["load"]
