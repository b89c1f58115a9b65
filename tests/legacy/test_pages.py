"""The Python in the pages about old code runs, and the messages that they quote are the program's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from maskrcnn_benchmark.modeling import registry

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ["migrating.md", "how-to/extend.md"]


@pytest.fixture(autouse=True)
def forgotten_parts() -> Iterator[None]:
    registries = [value for name, value in vars(registry).items() if name.isupper()]
    before = [dict(each) for each in registries]
    yield
    for each, content in zip(registries, before, strict=True):
        each.clear()
        each.update(content)


@pytest.mark.parametrize("page", PAGES)
def test_python_runs(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    space: dict[str, object] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, page, "exec"), space)


def test_the_table_of_registries_is_complete() -> None:
    text = (DOCS / "how-to/extend.md").read_text(encoding="utf-8")
    for name, value in vars(registry).items():
        if name.isupper():
            (entry,) = {part.key for part in value.values()}
            assert f"| `{name}` | `MODEL.{entry}` |" in text


def test_quoted_messages_exist(repository: Path) -> None:
    text = (DOCS / "migrating.md").read_text(encoding="utf-8")
    section = text.split("## Errors you may meet")[1].split("\n## ")[0]
    quoted = re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)
    assert len(quoted) >= 8
    # String literals may be broken over lines and have values in them.
    source = " ".join(
        re.sub(r'"\s*\n\s*f?"', "", file.read_text(encoding="utf-8"))
        for file in (repository / "maskrcnn_benchmark").rglob("*.py")
    )
    for message in quoted:
        if message.startswith(("No module", "cannot import")):  # Python's own
            continue
        for piece in re.split(r"\.\.\.|'[^']*'", message):
            piece = piece.strip(" ;:,")
            if len(piece) > 12:
                assert piece in source, f"no message says {piece!r}"
