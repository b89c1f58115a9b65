"""Types and limits of keys in words, for error messages and help."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

_NOUNS = {
    int: ("whole number", "whole numbers"),
    float: ("number", "numbers"),
    str: ("text", "texts"),
}


def describe_field(field: FieldInfo) -> str:
    """Say what a key takes, for example "a number from 0 to 1"."""
    return _describe(field.annotation, field.metadata)


def describe_value(value: object) -> str:
    """Say what came: the value, and its type where the value alone would mislead."""
    shown = repr(value) if len(repr(value)) <= 80 else f"{value!r:.77}..."
    if value is None:
        return "nothing (null)"
    if isinstance(value, str):
        return f"the text {shown}"
    return shown


def _describe(annotation: object, metadata: Iterable[object] = ()) -> str:
    annotation, metadata = _unwrap(annotation, metadata)
    if annotation is bool:
        return "true or false"
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(f'"{choice}"' for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        return _describe_tuple(get_args(annotation), metadata)
    if _is_mapping(annotation):
        return "names with their entries, {name: {...}}"
    limits = _limits(metadata)
    noun, _ = _noun(annotation)
    article = "" if noun == "text" else "a "
    return f"{article}{noun}{limits}"


def _describe_tuple(items: tuple[object, ...], metadata: list[object]) -> str:
    if len(items) == 2 and items[1] is Ellipsis:
        item, item_metadata = _unwrap(items[0], ())
        at_least = _bounds(metadata).get("min_length", 0)
        size = f"at least {at_least} " if at_least > 1 else "one or more " if at_least else ""
        if get_origin(item) is tuple:
            return f"a tuple of {size}rows, each {_describe(item)}"
        return f"a tuple of {size}{_plural(item)}{_limits(item_metadata)}"
    kinds = {_plural(_unwrap(item, ())[0]) for item in items}
    if len(kinds) == 1:
        _, item_metadata = _unwrap(items[0], ())
        return f"a tuple of {len(items)} {kinds.pop()}{_limits(item_metadata)}"
    return "(" + ", ".join(_describe(item) for item in items) + ")"


def _noun(annotation: object) -> tuple[str, str]:
    """Return singular and plural of what a type holds."""
    if _is_union(annotation):
        kinds = [_noun(_unwrap(choice, ())[0]) for choice in get_args(annotation)]
        if _NOUNS[float] in kinds:
            kinds.remove(_NOUNS[int])
        return " or ".join(kind[0] for kind in kinds), " or ".join(kind[1] for kind in kinds)
    if get_origin(annotation) is tuple:
        return "tuple of numbers", "tuples of numbers"
    for kind, nouns in _NOUNS.items():
        if annotation is kind:
            return nouns
    return "value", "values"


def _plural(annotation: object) -> str:
    if annotation is bool:
        return "values, true or false"
    return _noun(annotation)[1]


def _unwrap(annotation: object, metadata: Iterable[object]) -> tuple[object, list[object]]:
    found = list(metadata)
    while get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        found += more
    if _is_union(annotation) and not found:
        # Whole numbers and others: the limits of the others say it all.
        _, found = _unwrap(get_args(annotation)[-1], ())
    return annotation, found


def _is_union(annotation: object) -> bool:
    return get_origin(annotation) in (Union, UnionType)


def _is_mapping(annotation: object) -> bool:
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _bounds(metadata: Iterable[object]) -> dict[str, Any]:
    bounds: dict[str, Any] = {}
    for item in metadata:
        if isinstance(item, FieldInfo):
            bounds |= _bounds(item.metadata)
        for name in ("ge", "gt", "le", "lt", "min_length"):
            limit = getattr(item, name, None)
            if limit is not None:
                bounds[name] = limit
    return bounds


def _limits(metadata: Iterable[object]) -> str:
    bounds = _bounds(metadata)
    if "ge" in bounds and "le" in bounds:
        return f" from {bounds['ge']} to {bounds['le']}"
    words = [
        f"{word} {bounds[name]}"
        for name, word in (
            ("ge", "of at least"),
            ("gt", "above"),
            ("le", "of at most"),
            ("lt", "below"),
        )
        if name in bounds
    ]
    return " " + " and ".join(words) if words else ""
