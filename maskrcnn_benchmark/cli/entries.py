"""The words of the verbs whose work is a plain function: `config` and `quickstart`.

The functions' modules are imported when the verb runs, so that `maskrcnn --help` stays quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskrcnn_benchmark.cli.overrides import (
    OVERRIDES_HELP,
    OVERRIDES_METAVAR,
    check_overrides,
    split_first,
)


def show_config(
    context: typer.Context,
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE",
            help="A YAML file, or the name of a shipped one; left out: the defaults.",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar=OVERRIDES_METAVAR, help=OVERRIDES_HELP)
    ] = None,
    only_changed: Annotated[
        bool, typer.Option("--only-changed", help="Leave out the keys that have their default.")
    ] = False,
    without_meanings: Annotated[
        bool, typer.Option("--without-meanings", help="Leave out what each key means.")
    ] = False,
    schema: Annotated[
        bool,
        typer.Option("--schema", help="Print the JSON schema of config files, for editors."),
    ] = False,
) -> None:
    """Show the effective values, where each came from and what it means.

    For example:

      maskrcnn config e2e_mask_rcnn_R_50_FPN_1x SOLVER.BASE_LR 0.01 --only-changed

    What is printed is a config file itself.
    """
    from maskrcnn_benchmark.build.config_files import find_config
    from maskrcnn_benchmark.cli.config import config

    # Without a FILE, the first word of the overrides is taken for it.
    path, words = split_first([*([] if file is None else [file]), *(overrides or [])])
    config(
        None if path is None else find_config(path),
        check_overrides(words, context=context),
        schema=schema,
        only_changed=only_changed,
        meanings=not without_meanings,
    )


def run_quickstart(
    context: typer.Context,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar=OVERRIDES_METAVAR, help=OVERRIDES_HELP)
    ] = None,
    output_dir: Annotated[
        Path,
        typer.Option("--output-dir", "-o", metavar="FOLDER", help="Everything is written into it."),
    ] = Path("runs/quickstart"),
    seed: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Of the pictures, the first weights and the training."
        ),
    ] = 0,
) -> None:
    """Draw a toy set, train a small Mask R-CNN on it, test it and show what it finds.

    Takes minutes on a CPU. Run again after an interruption, it goes on where it was stopped.
    """
    from maskrcnn_benchmark.cli.quickstart import quickstart

    quickstart(
        output_dir=output_dir,
        seed=seed,
        overrides=check_overrides(overrides, context=context),
    )
