"""Constructors with keyword arguments only that also understand the call of old code.

class RPNHead(nn.Module):
    @also_called("maskrcnn_benchmark.build.legacy.rpn:head_arguments")
    def __init__(self, *, in_channels: int, num_anchors: int) -> None: ...

RPNHead(in_channels=256, num_anchors=3)     # ours
RPNHead(cfg, 256, 3)                        # old: head_arguments(cfg, 256, 3) gives the keywords
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

_Constructor = TypeVar("_Constructor", bound=Callable[..., None])


def also_called(
    convert: str | Callable[..., dict[str, Any]],
) -> Callable[[_Constructor], _Constructor]:
    """Decorate an `__init__`: a call with positional arguments, or with `cfg`, is converted first.

    Args:
        convert: takes the arguments of the old call and returns keyword arguments; or where it is,
            as "module:function", loaded when such a call comes.
    """

    def decorate(constructor: _Constructor) -> _Constructor:
        @functools.wraps(constructor)
        def construct(self: Any, *old: Any, **keywords: Any) -> None:
            if old or "cfg" in keywords:
                keywords = _find(convert)(*old, **keywords)
            constructor(self, **keywords)

        return cast(_Constructor, construct)

    return decorate


def _find(convert: str | Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    if not isinstance(convert, str):
        return convert
    module, _, name = convert.partition(":")
    found: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), name)
    return found
