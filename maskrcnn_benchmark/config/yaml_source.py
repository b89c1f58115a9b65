"""Configuration files: YAML read with the safe loader, each value with the line it stands on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import yaml

from maskrcnn_benchmark.errors import ConfigError


class Setting(NamedTuple):
    """A value for a key, and where it came from."""

    key: str
    value: object
    origin: str


def read_settings(text: str, *, name: str, is_section: Callable[[str], bool]) -> list[Setting]:
    """Read the keys and values of a YAML text.

    Args:
        text: the YAML.
        name: what to call it in messages and origins: its path.
        is_section: tells whether a dotted name is a section, whose entries are read one by one.

    Raises:
        ConfigError: not YAML, not a mapping, or a key that stands there twice; with the line.
    """
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            raise ConfigError(f"{name}: expected keys and values, got an empty file.")
        return list(_walk(root, loader=loader, name=name, prefix="", is_section=is_section))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        problem = error.problem or error.context
        raise ConfigError(f"{name}{line}: this is not YAML that can be read: {problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: this is not YAML that can be read: {error}") from None
    finally:
        if loader is not None:
            loader.dispose()


def _walk(
    node: yaml.Node,
    *,
    loader: yaml.SafeLoader,
    name: str,
    prefix: str,
    is_section: Callable[[str], bool],
) -> Iterator[Setting]:
    origin = f"{name}:{node.start_mark.line + 1}"
    if not isinstance(node, yaml.MappingNode):
        value = loader.construct_object(node, deep=True)
        if value is None and prefix:
            return  # a section whose keys are all commented out
        what = (
            f"{prefix} is a section: expected its keys below it"
            if prefix
            else "expected KEY: value"
        )
        raise ConfigError(f"{origin}: {what}, got {value!r}")
    _refuse_duplicates(node, name=name, prefix=prefix)
    loader.flatten_mapping(node)
    for key_node, value_node in node.value:
        key = str(loader.construct_object(key_node))
        key = f"{prefix}.{key}" if prefix else key
        if is_section(key):
            yield from _walk(
                value_node, loader=loader, name=name, prefix=key, is_section=is_section
            )
        else:
            value = loader.construct_object(value_node, deep=True)
            yield Setting(key, value, f"{name}:{key_node.start_mark.line + 1}")


def _refuse_duplicates(node: yaml.MappingNode, *, name: str, prefix: str) -> None:
    lines: dict[str, int] = {}
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in lines:
            full = f"{prefix}.{key}" if prefix else key
            raise ConfigError(
                f"{name}:{line}: {full} stands here and on line {lines[key]}; keep one of the two."
            )
        lines[key] = line
