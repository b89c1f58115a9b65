"""The words of a run: every key with its type, unit, default and origin."""

from maskrcnn_benchmark.config.defaults import Config, cfg, get_defaults

__all__ = ["Config", "cfg", "get_defaults"]
