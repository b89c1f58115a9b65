"""The Python of the how-to pages runs, block after block, as a reader would type it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

HOW_TO = Path(__file__).resolve().parents[1] / "docs" / "how-to"
PAGES = ["compose-a-detector.md", "test-time-augmentation.md"]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # The pages name shipped configs as seen from a checkout.
    Path("configs").symlink_to(HOW_TO.parents[1] / "configs")
    torch.manual_seed(0)
    blocks = BLOCK.findall((HOW_TO / page).read_text(encoding="utf-8"))
    assert blocks
    names: dict[str, object] = {"__name__": "example"}
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"{page}, block {number}", "exec"), names)
