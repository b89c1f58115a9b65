from __future__ import annotations

import errno

import pytest
import typer
from typer.testing import CliRunner

from maskrcnn_benchmark.cli.group import TRACEBACK_VARIABLE, VerbGroup
from maskrcnn_benchmark.errors import (
    CheckpointError,
    ConfigError,
    DatasetError,
    MaskRCNNError,
    TrainingError,
)


def run(error: BaseException) -> tuple[int, str, BaseException | None]:
    app = typer.Typer(cls=VerbGroup, pretty_exceptions_enable=False)

    @app.callback()
    def group() -> None:
        pass

    @app.command()
    def fail() -> None:
        raise error

    result = CliRunner().invoke(app, ["fail"])
    return result.exit_code, result.stderr, result.exception


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (ConfigError, 2),
        (DatasetError, 2),
        (CheckpointError, 1),
        (TrainingError, 1),
        (MaskRCNNError, 1),
    ],
)
def test_our_errors_are_one_block(kind: type[MaskRCNNError], code: int) -> None:
    exit_code, text, _ = run(kind("a long path " + "x" * 200))
    assert exit_code == code
    assert text.startswith(f"{kind.__name__}: a long path {'x' * 200}\n")
    assert "Traceback" not in text


def test_what_the_system_refuses_is_one_block() -> None:
    code, text, _ = run(PermissionError(errno.EACCES, "Permission denied", "/somewhere/config.yml"))
    assert code == 1
    assert text.startswith(
        "PermissionError: [Errno 13] Permission denied: '/somewhere/config.yml'\n"
    )
    assert "Traceback" not in text


def test_other_errors_stay_what_they_are() -> None:
    _, text, raised = run(ZeroDivisionError("a mistake of ours"))
    assert isinstance(raised, ZeroDivisionError)
    assert text == ""


def test_variable_keeps_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRACEBACK_VARIABLE, "1")
    _, text, raised = run(ConfigError("wrong"))
    assert isinstance(raised, ConfigError)
    assert text == ""


@pytest.mark.parametrize("words", ["", "To resume, run the same command again."])
def test_interruption(words: str) -> None:
    code, text, _ = run(KeyboardInterrupt(words) if words else KeyboardInterrupt())
    assert code == 130
    assert text.strip() == f"Interrupted. {words}".strip()
