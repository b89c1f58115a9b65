"""Constructors that understand the old call besides their own."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from maskrcnn_benchmark.utils.old_calls import also_called


def convert(cfg: dict[str, Any], size: int, extra: int = 0) -> dict[str, Any]:
    return {"size": size, "depth": cfg["depth"] + extra}


class Part:
    @also_called(convert)
    def __init__(self, *, size: int, depth: int = 1) -> None:
        """Keep them."""
        self.size, self.depth = size, depth


class Special(Part):
    def __init__(self, cfg: dict[str, Any], size: int) -> None:
        super().__init__(cfg, size)


def test_own_call() -> None:
    part = Part(size=3)
    assert (part.size, part.depth) == (3, 1)
    with pytest.raises(TypeError, match="nonsense"):
        Part(size=3, nonsense=4)


def test_old_call_by_place_and_by_name() -> None:
    cfg = {"depth": 5}
    for part in (Part(cfg, 3), Part(cfg, size=3), Part(cfg=cfg, size=3), Special(cfg, 3)):
        assert (part.size, part.depth) == (3, 5)
    assert Part(cfg, 3, extra=2).depth == 7
    with pytest.raises(TypeError, match="convert"):
        Part(cfg, 3, 4, 5)


def test_the_signature_shown_is_the_own_one() -> None:
    assert list(inspect.signature(Part).parameters) == ["size", "depth"]
    assert Part.__init__.__doc__ == "Keep them."


def test_the_conversion_is_loaded_when_it_is_needed() -> None:
    class Late:
        @also_called("tests.utils.nowhere:convert")
        def __init__(self, *, size: int) -> None:
            self.size = size

    assert Late(size=2).size == 2
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        Late(2)
