"""Two thousand objects with masks on 4000 x 4000 pixels: the memory of a training step does not grow with them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "many_objects.py"


def added_gib(objects: int) -> float:
    words = [sys.executable, str(SCRIPT), "--thin", "--objects", str(objects)]
    run = subprocess.run(words, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr
    found = re.search(r"added GiB ([\d.]+)", run.stdout)
    assert found
    return float(found[1])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_memory_is_bounded_in_the_number_of_objects() -> None:
    few, many = added_gib(2), added_gib(2000)
    assert many < few + 0.75
    assert many < 6
