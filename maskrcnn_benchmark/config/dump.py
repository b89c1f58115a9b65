"""Configuration to YAML text."""

from __future__ import annotations

import math
from collections.abc import Iterator

import yaml

from maskrcnn_benchmark.config.section import Section


def format_value(value: object) -> str:
    """Return a value as YAML on one line; tuples as [a, b]."""
    plain = _plain(value)
    text = yaml.safe_dump(plain, default_flow_style=True, width=math.inf, sort_keys=False)
    return text.removesuffix("...\n").rstrip("\n")


def dump_section(section: Section) -> str:
    """Return the keys of a section as YAML, in order of definition."""
    return "".join(f"{line}\n" for line in _lines(section, indent=""))


def _lines(section: Section, *, indent: str) -> Iterator[str]:
    for name, value in section.items():
        if isinstance(value, Section):
            yield f"{indent}{name}:"
            yield from _lines(value, indent=indent + "  ")
        else:
            yield f"{indent}{name}: {format_value(value)}"


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
