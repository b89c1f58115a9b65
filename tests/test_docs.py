"""Contracts on the documentation and on the shape of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from maskrcnn_benchmark.cli.reference import commands_page, config_page

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MAX_LINES = 600


@pytest.mark.parametrize(
    ("name", "render"), [("commands.md", commands_page), ("config.md", config_page)]
)
def test_reference_is_current(name: str, render: object) -> None:
    assert callable(render)
    text = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert text == render(), "the reference is out of date: run `make docs`"


def _anchors(page: Path) -> set[str]:
    """GitHub's anchors: lower case, no punctuation, spaces as hyphens."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in _anchors(target), f"{page.name} links to {link}"


def test_changelog_has_its_headings() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in text
    assert "### Numbers changed" in text
    assert "### Silent regressions found" in text


def test_files_are_short() -> None:
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for path in (ROOT / "maskrcnn_benchmark").rglob("*.py")
        if (lines := path.read_text(encoding="utf-8").count("\n")) > MAX_LINES
    }
    assert not long
