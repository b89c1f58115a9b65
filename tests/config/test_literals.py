from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Literal

import pytest

from maskrcnn_benchmark.config.literals import is_text, strip_quotes, to_value


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        ("1e-3", float, 0.001),
        (" 7 ", int, 7),
        ("(1, 2)", tuple[int, ...], (1, 2)),
        ("[1, 2]", tuple[int, ...], (1, 2)),
        ([[1, 2], 3], tuple[Any, ...], ((1, 2), 3)),
        ("True", bool, True),
        ("false", bool, False),
        ("abc", float, "abc"),
        ("__import__('os').getcwd()", int, "__import__('os').getcwd()"),
        ("(" * 500, int, "(" * 500),
        ("12", str, "12"),
        ("(a)", Literal["(a)"], "(a)"),
        (PurePosixPath("a/b"), str, "a/b"),
        ("{'a': {'b': [1]}}", Mapping[str, Any], {"a": {"b": (1,)}}),
        ({"a": PurePosixPath("x")}, Mapping[str, Any], {"a": "x"}),
    ],
)
def test_to_value(value: object, annotation: object, expected: object) -> None:
    found = to_value(value, annotation=annotation)
    assert found == expected
    assert type(found) is type(expected)


def test_strip_quotes() -> None:
    assert strip_quotes('"float16"') == "float16"
    assert strip_quotes("float16") == "float16"
    assert strip_quotes("12") == "12"
    assert strip_quotes("") == ""


def test_is_text() -> None:
    assert is_text(str)
    assert is_text(Literal["a", "b"])
    assert not is_text(Literal[1, 2])
    assert not is_text(tuple[str, ...])
