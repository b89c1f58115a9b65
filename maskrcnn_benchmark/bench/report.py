"""What was measured, as a table for people or as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from maskrcnn_benchmark.bench.machine import describe_machine
from maskrcnn_benchmark.bench.timing import Timing

Row = dict[str, Any]


def timing_row(name: str, timing: Timing, *, count: int = 1, **more: Any) -> Row:
    """A row of latencies in milliseconds and of things a second."""
    return {
        "what": name,
        "median ms": round(1000 * timing.median, 1),
        "p90 ms": round(1000 * timing.percentile(90), 1),
        "p99 ms": round(1000 * timing.percentile(99), 1),
        "per second": round(timing.per_second(count), 3),
        **more,
    }


def spread_row(
    name: str, values: Sequence[float], *, worst: Callable[[Sequence[float]], float]
) -> Row:
    """A row of how far many pairs are apart: the worst pair, the median and the mean."""
    return {
        "what": name,
        "worst": round(worst(values), 4),
        "median": round(statistics.median(values), 4),
        "mean": round(statistics.fmean(values), 4),
    }


def with_ratios(rows: Sequence[Row], *, to: str) -> list[Row]:
    """Rows with how many times as fast each is as the one called `to`."""
    base = next(row["median ms"] for row in rows if row["what"] == to)
    return [{**row, f"times {to}": round(base / max(row["median ms"], 1e-9), 2)} for row in rows]


def show(title: str, rows: Sequence[Row], *, notes: Mapping[str, Any], as_json: bool) -> None:
    """Print the rows, the notes and the machine."""
    facts = {**describe_machine(), **notes}
    if as_json:
        print(json.dumps({"title": title, "rows": list(rows), **facts}, indent=2))
        return
    # Wide enough for whole headings: a pipe has no width of its own.
    console = Console(width=max(140, Console().width), highlight=False)
    console.print(title, style="bold")
    for name, value in facts.items():
        console.print(f"  {name}: {value}")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="left" if column == "what" else "right")
    for row in rows:
        table.add_row(*(str(row.get(column, "-")) for column in columns))
    console.print(table)
