"""Every name that users of the old project import is where it was, and has a contract test in this folder."""

from __future__ import annotations

import ast
import importlib
import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SURFACE = {
    kind: [tuple(row) for row in rows]
    for kind, rows in json.loads((HERE / "surface.json").read_text()).items()
}
ROWS = sorted({row for rows in SURFACE.values() for row in rows})


def has_contract() -> set[str]:
    found = set()
    for file in HERE.glob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="contract"), args=arguments):
                    found |= {each.value for each in arguments if isinstance(each, ast.Constant)}
    return found


@pytest.mark.parametrize(("module", "name"), ROWS)
def test_imports_from_its_old_path(module: str, name: str) -> None:
    space: dict[str, object] = {}
    exec(f"from {module} import {name}", space)
    assert space[name] is not None


def test_every_name_has_a_contract() -> None:
    names = {f"{module}.{name}".removeprefix("maskrcnn_benchmark.") for module, name in ROWS}
    assert names - has_contract() == set()
    assert has_contract() - names == set(), "not in surface.json"


@pytest.mark.shared_data
def test_the_surface_is_the_whole_one(shared: Path) -> None:
    text = (shared / "reference" / "legacy_api.md").read_text()
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `")]
    table = [tuple(cell.strip().strip("`") for cell in row) for row in rows]
    assert table == SURFACE["imported"]


@pytest.mark.parametrize("module", sorted({module for module, _ in ROWS}))
def test_another_name_is_an_ordinary_error(module: str) -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        importlib.import_module(module).nonsense  # noqa: B018
