"""Parts that users registered under the old registries, fitted into the padded core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import nn

from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.modeling.backbone import Backbone
from maskrcnn_benchmark.utils.registry import Registry


def find_registered(registry: Registry, name: str) -> Callable[..., Any] | None:
    """The user's part of that name, None where there is none."""
    part: Callable[..., Any] | None = registry.get(name)
    return part


def adapt_backbone(module: nn.Module, cfg: Config) -> Backbone:
    """A user's backbone with the attributes that this package's have."""
    if not hasattr(module, "strides"):
        module.strides = tuple(cfg.MODEL.RPN.ANCHOR_STRIDE)  # type: ignore[assignment]
    return cast(Backbone, module)
