"""Files that are either the old one or the whole new one, never half of either."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, overload

# .NAME.PID-RANDOM.tmp: what a killed process leaves behind, see `remove_stale_temporaries`.
_TEMPORARY = re.compile(r"^\..+\.(?P<pid>\d+)-[0-9a-f]{8}\.tmp$")
# What this process is writing: in a container another run may have had the same process id.
_being_written: set[Path] = set()


@overload
def atomic_write(
    path: str | os.PathLike[str], mode: Literal["w"] = "w"
) -> contextlib.AbstractContextManager[IO[str]]: ...
@overload
def atomic_write(
    path: str | os.PathLike[str], mode: Literal["wb"]
) -> contextlib.AbstractContextManager[IO[bytes]]: ...
def atomic_write(
    path: str | os.PathLike[str], mode: Literal["w", "wb"] = "w"
) -> contextlib.AbstractContextManager[IO[Any]]:
    """Open a file that takes its name only when the block ends without an error.

    The text or bytes go to a temporary file in the same folder, are forced to the disk and then
    renamed over `path`. When the block raises, the disk is full or the process is killed, whatever
    was at `path` stays as it was; the temporary file is removed (after a kill: by
    `remove_stale_temporaries`).

    Args:
        path: the file to write. A symbolic link is followed, its target is replaced.
        mode: "w" (UTF-8 text, newlines as given) or "wb" (bytes).
    """
    if mode not in ("w", "wb"):
        raise ValueError(f"expected mode 'w' or 'wb', got {mode!r}")
    return _atomic_write(Path(os.path.realpath(path)), mode)


@contextmanager
def _atomic_write(path: Path, mode: str) -> Iterator[IO[Any]]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    _being_written.add(temporary)
    try:
        with open(temporary, mode.replace("w", "x"), **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    finally:
        _being_written.discard(temporary)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where the system lets us."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows cannot open folders; there the rename is all we get.
        return
    try:
        with contextlib.suppress(OSError):  # Some network file systems refuse.
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_stale_temporaries(folder: str | os.PathLike[str]) -> list[Path]:
    """Remove what killed processes left in `folder`; files of processes that still run stay.

    Returns:
        The removed files.
    """
    removed = []
    for path in sorted(Path(os.path.realpath(folder)).iterdir()):
        match = _TEMPORARY.match(path.name)
        if match is None or not path.is_file() or path in _being_written:
            continue
        if int(match["pid"]) != os.getpid() and _is_running(int(match["pid"])):
            continue
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            removed.append(path)
    return removed


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # It belongs to somebody else, so it exists.
        return True
    return True
