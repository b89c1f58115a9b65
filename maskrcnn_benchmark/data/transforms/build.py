"""The old entry point that makes transforms of a config."""

from __future__ import annotations

from typing import Any

from maskrcnn_benchmark.data.transforms.transforms import Compose


def build_transforms(cfg: Any, is_train: bool = True) -> Compose:
    """Jitter, resize, flips, to-tensor and normalise, as the config's INPUT section says.

    Args:
        cfg: configuration of the run.
        is_train: whether to jitter and flip, and which sizes to use.
    """
    from maskrcnn_benchmark.build.data import build_transforms as build

    return build(cfg, is_train=is_train)
