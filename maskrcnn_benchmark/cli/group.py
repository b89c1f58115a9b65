"""How the commands behave as a whole: what a failure prints, and which exit code it gives.

0 success, 1 the work failed, 2 the words of the command or the data were wrong, 130 interrupted.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from maskrcnn_benchmark.errors import ConfigError, DatasetError, MaskRCNNError

TRACEBACK_VARIABLE = "MASKRCNN_TRACEBACK"
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class UsageError(typer.BadParameter):
    """The words of the command do not go together; printed with the verb's usage."""

    def format_message(self) -> str:
        """Return the message as it is, without naming a parameter."""
        return self.message


class VerbGroup(TyperGroup):
    """A group of verbs that turns our errors into one readable block, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the user's own preparations, then the verb; our errors end it with a message and an exit code."""
        with readable_errors():
            import maskrcnn_benchmark.utils.env  # noqa: F401

            return super().invoke(ctx)


def exit_if_gate_failed(results: Mapping[str, Any]) -> None:
    """End with exit code 1 if a test set's results are not those of TEST.EXPECTED_RESULTS.

    Args:
        results: name of a test set -> COCOResults; the log has said which figure is off.

    Raises:
        SystemExit: if one of them did not pass.
    """
    failed = [name for name, each in results.items() if each.passed is False]
    if failed:
        typer.secho(
            f"TEST.EXPECTED_RESULTS: not reached on {', '.join(failed)}.", fg="red", err=True
        )
        raise SystemExit(EXIT_FAILED)


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turn our errors, those of files and disks, and Ctrl-C, into a message on stderr and an exit code.

    Raises:
        SystemExit: instead of the error, unless MASKRCNN_TRACEBACK is set.
    """
    try:
        yield
    except MaskRCNNError as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        _report(error)
        usage = isinstance(error, ConfigError | DatasetError)
        raise SystemExit(EXIT_USAGE if usage else EXIT_FAILED) from None
    except OSError as error:
        # A closed pipe (`| head`) is no failure; without a number it was raised by a library, for a reason of its own.
        if error.errno in (None, errno.EPIPE) or os.environ.get(TRACEBACK_VARIABLE):
            raise
        _report(error)
        raise SystemExit(EXIT_FAILED) from None
    except KeyboardInterrupt as interruption:
        # Its text, if any, is how to resume.
        typer.secho(f"\nInterrupted. {interruption}".rstrip(), fg="yellow", err=True)
        raise SystemExit(EXIT_INTERRUPTED) from None


def _report(error: Exception) -> None:
    # Nothing is wrapped or boxed, so that paths can be copied.
    typer.secho(f"{type(error).__name__}:", fg="red", bold=True, err=True, nl=False)
    typer.echo(f" {error}", err=True)
    typer.secho(f"({TRACEBACK_VARIABLE}=1 shows where it was raised)", dim=True, err=True)
