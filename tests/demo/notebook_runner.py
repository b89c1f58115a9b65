"""Runs the code of a notebook, cell after cell, without Jupyter: `python notebook_runner.py NOTEBOOK FOLDER`.

What Jupyter would show below cell N is written to the folder: a picture as N.png, anything else as N.txt.
"""

from __future__ import annotations

import ast
import json
import linecache
import os
import sys
from pathlib import Path
from typing import Any

from PIL import Image


def code_cells(notebook: Path) -> list[str]:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    return ["".join(each["source"]) for each in content["cells"] if each["cell_type"] == "code"]


def run_cell(source: str, name: str, names: dict[str, Any]) -> Any:
    """Run a cell; its value is that of its last line, where that is an expression."""
    # Tracebacks show the line.
    linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name
    tree = ast.parse(source, name)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), names)
    if last is None:
        return None
    assert isinstance(last, ast.Expr)
    return eval(compile(ast.Expression(last.value), name, "eval"), names)


def main(notebook: Path, folder: Path) -> None:
    # As in Jupyter: modules beside the notebook can be imported, and it is the current folder.
    os.chdir(notebook.parent)
    sys.path.insert(0, str(notebook.parent))
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, source in enumerate(code_cells(notebook), start=1):
        value = run_cell(source, f"{notebook.name}, cell {number}", names)
        if isinstance(value, Image.Image):
            value.save(folder / f"{number}.png")
        elif value is not None:
            (folder / f"{number}.txt").write_text(repr(value))


if __name__ == "__main__":
    main(*(Path(word).resolve() for word in sys.argv[1:3]))
