from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from maskrcnn_benchmark import __version__
from maskrcnn_benchmark.cli import app

VERBS = ("quickstart", "train", "test", "predict", "convert", "models", "info", "export", "config")


def test_help_names_every_verb() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for verb in VERBS:
        assert f" {verb} " in result.output


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb(verb: str) -> None:
    result = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert f"maskrcnn {verb} [OPTIONS]" in result.output


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.output.strip() == f"maskrcnn-benchmark {__version__}"


def test_without_a_verb_the_help_is_shown() -> None:
    assert "Commands" in CliRunner().invoke(app, []).output


def test_module_is_the_command(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "maskrcnn_benchmark", "config", "SOLVER.BASE_LRR", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "SOLVER.BASE_LRR" in result.stderr
    assert "did you mean SOLVER.BASE_LR?" in result.stderr
    assert "Traceback" not in result.stderr
