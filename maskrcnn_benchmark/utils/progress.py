"""Progress bars with the time left, drawn only where somebody watches.

That is: when standard output is a terminal, and only by the first process of a run.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

T = TypeVar("T")

# Bars are redrawn when work is counted, at most so often; a drawing thread would make the forking
# of loader workers unsafe.
_SECONDS_BETWEEN_DRAWINGS = 0.1

_active: Progress | None = None


def is_watched() -> bool:
    """Whether standard output is a terminal and this is the first process."""
    return (
        sys.stdout.isatty()
        and os.environ.get("RANK", "0") == "0"
        and os.environ.get("TERM", "") != "dumb"
    )


class ProgressBar:
    """Counts finished steps, silently; `progress_bar` makes one."""

    def advance(self, steps: int = 1) -> None:
        """Count `steps` more as done."""

    def describe(self, description: str) -> None:
        """Change the words in front of the bar."""


class _DrawnBar(ProgressBar):
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._drawn_at = 0.0

    def advance(self, steps: int = 1) -> None:
        self._progress.advance(self._task, steps)
        self._draw()

    def describe(self, description: str) -> None:
        self._progress.update(self._task, description=description)
        self._draw()

    def _draw(self) -> None:
        now = time.monotonic()
        if now - self._drawn_at >= _SECONDS_BETWEEN_DRAWINGS:
            self._progress.refresh()
            self._drawn_at = now


@contextmanager
def progress_bar(
    description: str, *, total: int | None, completed: int = 0, unit: str = ""
) -> Iterator[ProgressBar]:
    """Show a bar while the block runs; log lines and prints inside the block appear above it.

    Bars may be nested: the inner one appears below the outer one.

    Args:
        description: the words in front of the bar.
        total: how many steps there are; None when nobody knows.
        completed: how many were done before this process began (a resumed run).
        unit: what is counted; "B" shows sizes and speed in bytes.
    """
    global _active
    if not is_watched() and _active is None:
        yield ProgressBar()
        return
    if _active is not None:
        task = _active.add_task(description, total=total, completed=completed)
        try:
            yield _DrawnBar(_active, task)
        finally:
            _active.remove_task(task)
        return
    with _make_progress(unit) as progress:
        _active = progress
        try:
            task = progress.add_task(description, total=total, completed=completed)
            yield _DrawnBar(progress, task)
        finally:
            _active = None


def _make_progress(unit: str) -> Progress:
    # Imported here: most processes never draw a bar.
    from rich import progress as columns
    from rich.console import Console

    count: list[columns.ProgressColumn] = (
        [columns.DownloadColumn(), columns.TransferSpeedColumn()]
        if unit == "B"
        else [columns.MofNCompleteColumn()]
    )
    return columns.Progress(
        columns.TextColumn("{task.description}", markup=False),
        columns.BarColumn(),
        *count,
        columns.TimeElapsedColumn(),
        columns.TextColumn("left:"),
        columns.TimeRemainingColumn(),
        console=Console(file=sys.stdout, soft_wrap=True),
        transient=True,
        auto_refresh=False,
    )


def track(items: Iterable[T], description: str, *, total: int | None = None) -> Iterator[T]:
    """Yield the items behind a progress bar.

    Args:
        items: what to go through.
        description: the words in front of the bar.
        total: how many items there are, where `len(items)` does not know.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress_bar(description, total=total) as bar:
        for item in items:
            yield item
            bar.advance()
