"""The effective configuration for people: YAML, with meaning and origin of each value as comments."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from maskrcnn_benchmark.config.defaults import Config
from maskrcnn_benchmark.config.dump import format_value
from maskrcnn_benchmark.config.section import DEFAULT, Section

_ORIGIN_COLUMN = 48


class Line(NamedTuple):
    """One line of the explanation, and what kind of line it is."""

    text: str
    origin: str
    kind: Literal["section", "meaning", "default", "changed", "blank"]


def explain(
    config: Config, *, only_changed: bool = False, meanings: bool = True, width: int = 100
) -> Iterator[Line]:
    """Yield the lines of the configuration as YAML with comments; together they can be read back.

    Args:
        config: what to explain.
        only_changed: leave out what has its default.
        meanings: write above each key what it means, and in what unit.
        width: columns to keep to.
    """
    indented = False
    for line in _explain(config, only_changed, meanings, width, indent=""):
        if meanings and indented and not line.text.startswith(" "):
            yield Line("", "", "blank")
        yield line
        indented = line.text.startswith(" ")


def _explain(
    section: Section, only_changed: bool, meanings: bool, width: int, *, indent: str
) -> Iterator[Line]:
    for name, value in section.items():
        meaning = section.field(name).description or ""
        if isinstance(value, Section):
            if only_changed and not _is_changed(value):
                continue
            yield Line(f"{indent}{name}:", "", "section")
            yield from _explain(value, only_changed, meanings, width, indent=indent + "  ")
            continue
        origin = section.origin_of(name)
        if only_changed and origin == DEFAULT:
            continue
        if meanings:
            comment = f"{indent}# "
            for text in textwrap.wrap(
                meaning, width - len(comment), break_on_hyphens=False, break_long_words=False
            ):
                yield Line(comment + text, "", "meaning")
        text = f"{indent}{name}: {format_value(value)}"
        kind: Literal["default", "changed"] = "default" if origin == DEFAULT else "changed"
        yield Line(text, _place_origin(text, origin, width), kind)


def _place_origin(text: str, origin: str, width: int) -> str:
    """Return the origin as a comment that fits: aligned if it can be, and shortened if it must be."""
    name, colon, line = Path(origin).name.rpartition(":")
    short = f"line {line}" if name and colon else origin
    aligned = " " * max(2, _ORIGIN_COLUMN - len(text))
    for shown in (origin, Path(origin).name, short):
        for gap in (aligned, "  "):
            comment = f"{gap}# {shown}"
            if len(text + comment) <= width:
                return comment
    return f"  # {short}"


def _is_changed(section: Section) -> bool:
    return any(inner.origin_of(name) != DEFAULT for inner, name in section.walk())
