"""What a check of keys against each other is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskrcnn_benchmark.config.defaults import Config


@dataclass(frozen=True)
class Check:
    """Finds one kind of contradiction between keys."""

    keys: tuple[str, ...]
    """Every key whose value matters."""

    find: Callable[[Config], str | None]
    """Returns the contradiction and what to write instead, or None."""

    training: bool = False
    """Whether it matters for training only."""


def given(config: Config, key: str) -> str:
    """Return key, value and origin as they stand in a message."""
    section, name = config.locate(key)
    return f"{key} {section[name]!r} ({section.origin_of(name)})"
