"""`maskrcnn models`: what there is to start from."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def models(
    match: Annotated[
        str,
        typer.Argument(
            metavar="TEXT", help="Only those in whose name, task or backbone it occurs."
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    with_weights: Annotated[
        bool, typer.Option("--weights", help="Add where the weights come from.")
    ] = False,
) -> None:
    """List every config and every set of published weights, with its published figures.

    For example:

      maskrcnn models keypoint

    The first column is what --config-file, or MODEL.WEIGHT for catalog:// names, takes.
    """
    from maskrcnn_benchmark.build.model_list import list_models

    entries = list_models(match)
    if as_json:
        typer.echo(json.dumps([entry.to_dict() for entry in entries], indent=2))
        return
    if not entries:
        typer.echo(f"Nothing has {match!r} in its name, task or backbone.")
        return
    headings = ["name", "task", "backbone", "published"] + (["weights"] if with_weights else [])
    rows = [headings]
    for entry in entries:
        published = f"{entry.published} ({entry.source})" if entry.published else "-"
        row = [entry.name, entry.task, entry.backbone, published]
        rows.append(row + ([entry.weights] if with_weights else []))
    # One line for each, never wrapped, so that it can be searched and cut.
    widths = [max(len(row[column]) for row in rows) for column in range(len(headings))]
    for number, row in enumerate(rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.secho("  ".join(cells).rstrip(), bold=number == 0)
