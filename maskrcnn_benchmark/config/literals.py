"""Values as people write them, in YAML or on a command line, and as Python holds them.

The old project read every text with `ast.literal_eval` and kept the text where that failed; so `(60000, 80000)`,
`1e-3` and `"float16"` may be written as text everywhere.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping
from typing import Literal, get_args, get_origin

_BOOLEANS = {"true": True, "false": False}


def is_text(annotation: object) -> bool:
    """Say whether a key of this type holds text."""
    return annotation is str or (
        get_origin(annotation) is Literal
        and all(isinstance(choice, str) for choice in get_args(annotation))
    )


def strip_quotes(text: str) -> str:
    """Take away the quotes that a shell has left around a text."""
    value = _evaluate(text)
    return value if isinstance(value, str) else text


def to_value(value: object, *, annotation: object) -> object:
    """Bring a value into the form that its key holds, without checking it.

    Text becomes what it spells unless the key holds text; lists become tuples, paths become text.

    Args:
        value: as read from YAML, a command line, or set in code.
        annotation: the type of the key.
    """
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str) and not is_text(annotation):
        value = _evaluate(value)
        if annotation is bool and isinstance(value, str):
            value = _BOOLEANS.get(value.lower(), value)
    return _freeze(value)


def _evaluate(text: str) -> object:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _freeze(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return tuple(_freeze(item) for item in value)
    if isinstance(value, Mapping):
        return {key: _freeze(item) for key, item in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value
