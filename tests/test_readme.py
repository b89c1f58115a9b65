"""The README, and the commands that the documentation shows: they work, and they exist."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from maskrcnn_benchmark.build.direct_data import find_data
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer
from maskrcnn_benchmark.cli import app
from maskrcnn_benchmark.cli.legacy_tools import add_common_arguments
from maskrcnn_benchmark.cli.train import make_config
from maskrcnn_benchmark.data.toy import write_toy_dataset

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
MAX_LINES = 200
OLD_HEADINGS = [
    "Highlights",
    "Webcam and Jupyter notebook demo",
    "Installation",
    "Model Zoo and Baselines",
    "Inference in a few lines",
    "Perform training on COCO dataset",
    "Single GPU training",
    "Multi-GPU training",
    "Mixed precision training",
    "Evaluation",
    "Abstractions",
    "Adding your own dataset",
    "Finetuning from Detectron weights on custom datasets",
    "Troubleshooting",
    "Citations",
    "Projects using maskrcnn-benchmark",
    "License",
]
TOOL_FLAGS = {"tools/train_net.py": "--skip-test", "tools/test_net.py": "--ckpt"}


def _blocks(page: Path, language: str) -> list[str]:
    pattern = rf"^```{language}\n(.*?)^```"
    return re.findall(pattern, page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def _commands() -> Iterator[Any]:
    for page in PAGES:
        for block in _blocks(page, "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                if words := shlex.split(line, comments=True):
                    name = f"{page.relative_to(ROOT).as_posix()}: {' '.join(words)[:70]}"
                    yield pytest.param(words, id=name)


# Programs that are not ours.
OTHERS = ("pip", ".", ".venv/bin/pre-commit", "mkdir", "cp", "cd", "jupyter")


def test_readme_is_short() -> None:
    assert README.read_text(encoding="utf-8").count("\n") <= MAX_LINES


def test_old_headings_are_kept() -> None:
    headings = re.findall(r"^##+ (.+)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name in OLD_HEADINGS if name not in headings] == []


def test_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines at the top, in a folder with what the quickstart leaves (before it has learnt)."""
    monkeypatch.chdir(tmp_path)
    toy = write_toy_dataset("runs/quickstart/data", num_train=1, num_val=1)
    cfg = make_config(
        "quickstart/mask_rcnn_toy",
        direct=find_data(toy.root),
        pairs=["OUTPUT_DIR", "runs/quickstart", "MODEL.DEVICE", "cpu"],
    )
    Path(cfg.OUTPUT_DIR).mkdir(exist_ok=True)
    Checkpointer(build_model(cfg), save_dir=cfg.OUTPUT_DIR).save("model_final", config=cfg.dump())
    blocks = _blocks(README, "python")
    assert blocks
    for block in blocks:
        exec(compile(block, str(README), "exec"), {})
    assert "[" in capsys.readouterr().out


@pytest.mark.parametrize("words", list(_commands()))
def test_commands_exist(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of the documentation is read by the parser that would run it."""
    monkeypatch.chdir(ROOT)
    while re.fullmatch(r"[A-Z_]+=\S+", words[0]):  # a variable for this command alone
        words = words[1:]
    program, *rest = words
    if program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert re.search(rf"^{rest[0]}:", makefile, re.MULTILINE)
    elif program == "maskrcnn":
        _parse_verb(rest)
    elif program in ("python", "torchrun"):
        _parse_script(rest)
    else:
        assert program in OTHERS, f"nothing checks {program}"


def _parse_verb(words: list[str]) -> None:
    group: Any = typer.main.get_command(app)
    verb, *rest = words
    # Placeholders such as my_coco/ do not exist; no verb asks for that before it runs.
    group.commands[verb].make_context(verb, rest)


def _parse_script(words: list[str]) -> None:
    """Parse `[-m torch.distributed.launch] [--nproc_per_node=N] tools/X.py | -m PACKAGE ...`."""
    words = [word for word in words if not word.startswith("--nproc_per_node")]
    if words[:2] == ["-m", "torch.distributed.launch"]:
        words = words[2:]
    if words[:2] == ["-m", "maskrcnn_benchmark"]:
        _parse_verb(words[2:])
        return
    script, *rest = words
    # Demos are started from their folder, too.
    path = next(folder / script for folder in (ROOT, ROOT / "demo") if (folder / script).is_file())
    if script not in TOOL_FLAGS:
        asked = [sys.executable, str(path), "--help"]
        text = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        assert [word for word in rest if word.startswith("--") and word not in text] == []
        return
    parser = argparse.ArgumentParser(exit_on_error=False)
    flag = TOOL_FLAGS[script]
    parser.add_argument(flag, **({"action": "store_true"} if flag == "--skip-test" else {}))
    add_common_arguments(parser)
    arguments = parser.parse_args(rest)
    assert (ROOT / arguments.config_file).is_file()
    assert len(arguments.opts) % 2 == 0
    for key in arguments.opts[::2]:
        assert re.fullmatch(r"[A-Z_.0-9]+", key), f"{key} is no config key"
