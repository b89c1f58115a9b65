"""What of a file went where, as a table: one row for each part of the model."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping

from maskrcnn_benchmark.utils.progress import is_watched

COLUMNS = ("matched", "missing", "wrong shape", "unexpected")
_PARTS = (
    "backbone.body",
    "backbone.fpn",
    "rpn.head",
    "rpn",
    "roi_heads.box",
    "roi_heads.mask",
    "roi_heads.keypoint",
)
_OTHER = "other"

Counts = Mapping[str, Mapping[str, int]]


def count_by_part(states: Mapping[str, Iterable[str]]) -> Counts:
    """Part of the model -> state -> how many weights.

    Args:
        states: one of COLUMNS -> names of weights.
    """
    counts: dict[str, Counter[str]] = {}
    for state, names in states.items():
        for name in names:
            counts.setdefault(_part_of(name), Counter())[state] += 1
    order = (*_PARTS, _OTHER)
    return {part: counts[part] for part in order if part in counts}


def log_table(counts: Counts, *, logger: logging.Logger) -> None:
    """Draw the table where somebody watches, and log it as plain lines elsewhere."""
    plain = _plain(counts)
    if not is_watched():
        logger.info("%s", plain)
        return
    logger.debug("%s", plain)
    from rich.console import Console
    from rich.table import Table

    table = Table("part of the model", *COLUMNS)
    for part, row in counts.items():
        bad = any(row.get(state) for state in COLUMNS[1:3])
        table.add_row(
            part, *(str(row.get(state, 0)) for state in COLUMNS), style="yellow" if bad else ""
        )
    Console().print(table)


def _part_of(name: str) -> str:
    return next((part for part in _PARTS if name.startswith(f"{part}.")), _OTHER)


def _plain(counts: Counts) -> str:
    rows: list[tuple[str, ...]] = [("part of the model", *COLUMNS)]
    rows += [(part, *(str(row.get(state, 0)) for state in COLUMNS)) for part, row in counts.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for part, *cells in rows:
        numbers = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        lines.append("  ".join((part.ljust(widths[0]), *numbers)))
    return "\n  ".join(lines)
