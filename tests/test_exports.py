"""Contracts on `__all__`: what it lists can be imported, and it is in order."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import maskrcnn_benchmark

PACKAGES = ["maskrcnn_benchmark"] + [
    module.name
    for module in pkgutil.walk_packages(maskrcnn_benchmark.__path__, "maskrcnn_benchmark.")
    if module.ispkg
]


def _order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest: the order that ruff keeps (RUF022)."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2), name


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_true_and_sorted(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__doc__, f"{package} says nothing about itself"
    exported = getattr(module, "__all__", [])
    assert list(exported) == sorted(set(exported), key=_order)
    for name in exported:
        assert getattr(module, name, None) is not None, f"{package}.{name}"
