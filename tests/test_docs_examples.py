"""The Python of the how-to pages runs, block after block, as a reader would type it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

HOW_TO = Path(__file__).resolve().parents[1] / "docs" / "how-to"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["compose-a-detector.md", "test-time-augmentation.md"])
def test_the_examples_run(page: str) -> None:
    torch.manual_seed(0)
    blocks = BLOCK.findall((HOW_TO / page).read_text(encoding="utf-8"))
    assert blocks
    names: dict[str, object] = {"__name__": "example"}
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"{page}, block {number}", "exec"), names)
