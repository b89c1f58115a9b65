"""Says which names of the legacy surface a test is the contract of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

_Test = TypeVar("_Test", bound=Callable[..., Any])


def contract(*names: str) -> Callable[[_Test], _Test]:
    """Decorate a test of behaviour; `names` without the package: "modeling.matcher.Matcher".

    `test_surface.py` reads them and fails for a row of the surface that has no contract.
    """
    assert names
    return lambda test: test
