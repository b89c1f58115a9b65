"""What the page on the demos says can be typed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.demo.demo_modules import DEMO, webcam
from tests.demo.test_predictor import checkpoint, config, picture

PAGE = DEMO.parent / "docs" / "how-to" / "demos.md"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like a checkout's root after `maskrcnn quickstart`, with a thin model; the current one."""
    run = tmp_path / "runs" / "quickstart"
    (run / "data" / "val").mkdir(parents=True)
    cfg = config(Path("runs/quickstart"))
    checkpoint(cfg, run / "model_final.pth", class_names=["__background__", "a", "b", "c"])
    (run / "config.yml").write_text(cfg.dump())
    (run / "last_checkpoint").write_text("runs/quickstart/model_final.pth")
    (tmp_path / "demo").symlink_to(DEMO)
    for path in (tmp_path / "photo.png", run / "data" / "val" / "1.png"):
        Image.fromarray(picture()).save(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_runs(checkout: Path, caplog: pytest.LogCaptureFixture) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    before = list(sys.path)
    names: dict[str, object] = {}
    try:
        exec(compile(block, "demos.md", "exec"), names)
    finally:
        sys.path[:] = before
    assert "noise" not in caplog.text
    assert list(names["demo"].CATEGORIES)[1:] == ["a", "b", "c"]  # type: ignore[attr-defined]
    assert np.asarray(Image.open("drawn.png")).shape == picture().shape


def test_the_command_on_pictures_runs(checkout: Path) -> None:
    (command,) = re.findall(r"^python (demo/webcam\.py .*\\\n.*)$", PAGE.read_text(), re.MULTILINE)
    words = command.replace("\\\n", " ").split()
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "noise" not in done.stderr
    assert [path.name for path in Path("found").iterdir()] == ["1.png"]


def test_the_table_lists_the_flags(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["webcam.py", "--help"])
    with pytest.raises(SystemExit):
        webcam._parse_arguments()
    known = set(re.findall(r"^  (--[a-z-]+)", capsys.readouterr().out, re.MULTILINE))
    assert set(re.findall(r"^\| `(--[a-z-]+)`", PAGE.read_text(), re.MULTILINE)) == known
