"""The command `maskrcnn`: one file per verb, which reads its arguments, calls, and prints.

`maskrcnn --help` must stay quick: nothing here imports torch before a verb runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from maskrcnn_benchmark import __version__
from maskrcnn_benchmark.cli.bench import app as bench
from maskrcnn_benchmark.cli.convert import convert
from maskrcnn_benchmark.cli.entries import run_quickstart, show_config
from maskrcnn_benchmark.cli.export import export
from maskrcnn_benchmark.cli.group import VerbGroup
from maskrcnn_benchmark.cli.info import info
from maskrcnn_benchmark.cli.models import models
from maskrcnn_benchmark.cli.overrides import OVERRIDE_SETTINGS
from maskrcnn_benchmark.cli.predict import predict
from maskrcnn_benchmark.cli.test import run_test
from maskrcnn_benchmark.cli.train import train

__all__ = ["app", "main"]

app = typer.Typer(
    name="maskrcnn",
    cls=VerbGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"maskrcnn-benchmark {__version__}")
        raise typer.Exit


@app.callback()
def _maskrcnn(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Train, test and use Faster and Mask R-CNN.

    Start with: maskrcnn quickstart
    """


app.command("quickstart", context_settings=OVERRIDE_SETTINGS)(run_quickstart)
app.command("train", context_settings=OVERRIDE_SETTINGS)(train)
app.command("test", context_settings=OVERRIDE_SETTINGS)(run_test)
app.command("predict")(predict)
app.command("models")(models)
app.command("info", context_settings=OVERRIDE_SETTINGS)(info)
app.command("convert", context_settings=OVERRIDE_SETTINGS)(convert)
app.command("export", context_settings=OVERRIDE_SETTINGS)(export)
app.add_typer(bench, name="bench")
app.command("config", context_settings=OVERRIDE_SETTINGS)(show_config)


def main() -> None:
    """Run the command with the words of the command line."""
    app(prog_name="maskrcnn")
