"""No folder of tests is passed over: pytest's default leaves out those named `build`."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def test_no_folder_of_tests_is_passed_over(request: pytest.FixtureRequest) -> None:
    patterns = request.config.getini("norecursedirs")
    folders = {path.parent for path in TESTS.rglob("test_*.py")}
    assert TESTS / "build" in folders
    passed_over = [
        folder
        for folder in folders
        if any(fnmatch(part, p) for part in folder.relative_to(TESTS).parts for p in patterns)
    ]
    assert not passed_over
