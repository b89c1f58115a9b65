"""Real processes that start at once: forked from a server that has imported torch already."""

from __future__ import annotations

import multiprocessing
import os
import random
import socket
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "torch._dynamo",
        "torch.distributed",
        "maskrcnn_benchmark.data.loader",
        "maskrcnn_benchmark.build.run",
    ]
)
TIMEOUT_S = 120


def run_in_process(target: Callable[..., Any], *arguments: Any, log: Path | None = None) -> int:
    """Call `target(*arguments)` in a process of its own.

    Args:
        target: a function of an importable module.
        arguments: can be pickled.
        log: where the traceback of an error goes.

    Returns:
        The exit code: 0, 1 after an error, -9 after SIGKILL.
    """
    return _wait(_start(target, arguments, log, {}))


def run_ranks(target: Callable[..., Any], *arguments: Any, folder: Path) -> list[int]:
    """Call `target(*arguments)` in two processes that find each other as torchrun's would.

    Args:
        target: a function of an importable module.
        arguments: can be pickled.
        folder: where tracebacks go, `error0.txt` and `error1.txt`.

    Returns:
        The exit code of each rank.
    """
    port = _find_port()
    processes = []
    for rank in range(2):
        variables = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        processes.append(_start(target, arguments, folder / f"error{rank}.txt", variables))
    return [_wait(process) for process in processes]


def _find_port() -> int:
    """A free port that no other process is given in passing, as a port of its own or of an outgoing connection."""
    while True:
        # Below the range of the kernel's own choice.
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _start(
    target: Callable[..., Any],
    arguments: Sequence[Any],
    log: Path | None,
    variables: dict[str, str],
) -> Any:
    process = _context.Process(target=_call, args=(target, arguments, log, variables))
    process.start()
    return process


def _wait(process: Any) -> int:
    process.join(TIMEOUT_S)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"{process} did not end within {TIMEOUT_S} seconds")
    return process.exitcode


def _call(
    target: Callable[..., Any],
    arguments: Sequence[Any],
    log: Path | None,
    variables: dict[str, str],
) -> None:
    warnings.simplefilter("error")
    # As in pyproject.toml: pycocotools 2.0.11 with numpy 2.
    warnings.filterwarnings("ignore", message="__array__ implementation doesn't accept a copy")
    # The children of these processes (loader workers) are forked, as in an ordinary program.
    multiprocessing.set_start_method("fork", force=True)
    os.environ.update(variables)
    try:
        target(*arguments)
    except Exception:
        if log is not None:
            log.write_text(traceback.format_exc())
        raise
