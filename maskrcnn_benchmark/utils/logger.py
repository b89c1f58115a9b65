"""The log of a run: standard output and a file, written by the first process only."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

LOG_FORMAT = "%(asctime)s %(name)s %(levelname)s: %(message)s"


if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    # Takes a type in brackets from Python 3.11 on.
    _StreamHandler = logging.StreamHandler


class _StdoutHandler(_StreamHandler):
    """Writes to whatever `sys.stdout` is now, so that a progress bar can step aside for a line."""

    def __init__(self, level: int) -> None:
        logging.Handler.__init__(self, level)

    @property
    def stream(self) -> TextIO:
        return sys.stdout

    @stream.setter
    def stream(self, value: TextIO) -> None:
        raise AttributeError("this handler always follows sys.stdout")


def setup_logger(
    name: str,
    save_dir: str | os.PathLike[str] | None,
    distributed_rank: int,
    filename: str = "log.txt",
    *,
    console_level: int = logging.DEBUG,
) -> logging.Logger:
    """Send a logger and all below it to standard output and to `save_dir/filename`.

    Calling it again for the same name replaces the handlers, so that a process can run twice
    without doubled lines. Ranks above 0 stay silent: their errors travel as exceptions.

    Args:
        name: the logger, usually "maskrcnn_benchmark".
        save_dir: an existing folder; empty or None for no file. An existing file is appended to.
        distributed_rank: 0 for the process that logs.
        filename: the file's name in `save_dir`.
        console_level: what is less important than this goes to the file only.
    """
    close_logger(name)
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    handlers: list[logging.Handler] = []
    if distributed_rank > 0:
        handlers.append(logging.NullHandler())
    else:
        handlers.append(_StdoutHandler(console_level))
        if save_dir:
            handlers.append(logging.FileHandler(Path(save_dir) / filename, encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(LOG_FORMAT))
        logger.addHandler(handler)
    return logger


def close_logger(name: str) -> None:
    """Undo `setup_logger`: close the file, drop the handlers, let records travel up again."""
    logger = logging.getLogger(name)
    for handler in list(logger.handlers):
        if isinstance(handler, (_StdoutHandler, logging.FileHandler, logging.NullHandler)):
            logger.removeHandler(handler)
            handler.close()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)
