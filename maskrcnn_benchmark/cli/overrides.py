"""The `KEY VALUE ...` at the end of a command line.

Verbs that take them let unknown options through (a value may be `-1`), so a mistyped option
arrives here as a key and is reported from here.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated

import typer

from maskrcnn_benchmark.cli.group import UsageError

# For `app.command(context_settings=...)` of the verbs that take overrides.
OVERRIDE_SETTINGS = {"ignore_unknown_options": True}
OVERRIDES_METAVAR = "KEY VALUE"
OVERRIDES_HELP = "Config values, such as SOLVER.BASE_LR 0.0025; they win over the file."


def check_overrides(arguments: list[str] | None, *, context: typer.Context) -> list[str]:
    """Return the `KEY VALUE` pairs, checked to be pairs with keys that are no options.

    Raises:
        UsageError: for an option that does not exist, or a key without a value.
    """
    arguments = list(arguments or [])
    options = [name for each in context.command.params for name in each.opts if name[:1] == "-"]
    for key in arguments[::2]:
        if key.startswith("-"):
            near = difflib.get_close_matches(key.split("=")[0], options, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UsageError(f"No such option: {key}.{hint}")
    if len(arguments) % 2:
        raise UsageError(
            f"Expected pairs of KEY VALUE, got {len(arguments)} words; "
            f"the last one has no value: '{arguments[-1]}'."
        )
    return arguments


WeightsConfig = Annotated[
    str | None,
    typer.Option(
        "--config-file",
        "-c",
        metavar="FILE",
        help="Config of the weights; a run, and weights of this version, know their own.",
    ),
]


def split_first(arguments: list[str]) -> tuple[Path | None, list[str]]:
    """Split `[RUN] [KEY VALUE ...]`: with an odd number of words the first is a run folder."""
    if len(arguments) % 2 and not arguments[0].startswith("-"):
        return Path(arguments[0]), arguments[1:]
    return None, arguments
