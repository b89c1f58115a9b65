from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from maskrcnn_benchmark.cli.overrides import (
    OVERRIDE_SETTINGS,
    check_overrides,
    split_first,
)


def parse(*words: str) -> tuple[int, str]:
    app = typer.Typer()

    @app.command(context_settings=OVERRIDE_SETTINGS)
    def _verb(
        context: typer.Context,
        overrides: list[str] = typer.Argument(None),  # noqa: B008
        fast: bool = typer.Option(False, "--fast", "-f"),
    ) -> None:
        typer.echo(f"{check_overrides(overrides, context=context)} {fast}")

    result = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_pairs_and_options_mix() -> None:
    assert parse("A.B", "1", "--fast", "C", "x y") == (0, "['A.B', '1', 'C', 'x y'] True\n")
    assert parse() == (0, "[] False\n")


@pytest.mark.parametrize("value", ["-1", "-0.5", "-1e-3"])
def test_values_may_be_negative(value: str) -> None:
    assert parse("SOLVER.X", value) == (0, f"['SOLVER.X', '{value}'] False\n")


def test_mistyped_option_gets_the_nearest() -> None:
    code, output = parse("--fasst", "A", "1")
    assert code == 2
    assert "No such option: --fasst. Did you mean --fast?" in output


def test_key_without_value() -> None:
    code, output = parse("A", "1", "B")
    assert code == 2
    assert "the last one has no value: 'B'" in output


def test_first_word_is_a_folder_when_the_number_is_odd() -> None:
    assert split_first([]) == (None, [])
    assert split_first(["run"]) == (Path("run"), [])
    assert split_first(["A", "1"]) == (None, ["A", "1"])
    assert split_first(["run", "A", "1"]) == (Path("run"), ["A", "1"])
    # A mistyped option is left for check_overrides to report.
    assert split_first(["--runn"]) == (None, ["--runn"])
