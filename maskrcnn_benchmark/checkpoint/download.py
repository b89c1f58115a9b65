"""Weights from the network, kept in a cache folder.

A download that breaks off leaves NAME.part, and goes on from there the next time, if the file on the server is still
the same one (NAME.part.json says which it was). Where that can be checked neither by the server's mark nor by a hash in
the name, nothing is left.

NAME.url says where a file came from, so that one of the same name from elsewhere (model_final.pth) is not taken for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import logging
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlparse

from maskrcnn_benchmark.errors import CheckpointError
from maskrcnn_benchmark.utils.comm import all_gather, is_main_process
from maskrcnn_benchmark.utils.progress import progress_bar

logger = logging.getLogger(__name__)

# NAME-HEX.pth: the hex digits are the beginning of the file's SHA-256, as in torch's model zoo. Decimal digits alone
# are a date or an iteration (checkpoint-100000.pth).
_HASH = re.compile(r"-(?=[0-9]*[a-f])([0-9a-f]{6,64})\.")
# What servers send in place of a file.
_NO_FILES = (
    ((b"<!doctype", b"<html", b"<?xml"), "a web page"),
    ((b"version https://git-lfs",), "a Git LFS pointer (give the address of the file behind it)"),
)
_CHUNK = 1 << 20
_TIMEOUT_S = 30
# How often a broken connection is taken up again before giving up.
_ATTEMPTS = 4
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


def cache_folder() -> Path:
    """Return TORCH_MODEL_ZOO, else TORCH_HOME/models, else ~/.torch/models."""
    home = os.environ.get("TORCH_HOME", "~/.torch")
    return Path(os.environ.get("TORCH_MODEL_ZOO", os.path.join(home, "models"))).expanduser()


def cached_path(url: str, model_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return where the file behind `url` is kept, whether it is there yet or not.

    A file of the same name that came from another address keeps its place.

    Raises:
        CheckpointError: if the URL names no file.
    """
    try:
        path = unquote(urlparse(url).path)
    except ValueError as error:
        raise CheckpointError(f"{url} is no URL: {error}") from error
    name = path.rsplit("/", 1)[-1]
    # Detectron's files are all called model_final.pkl; their folders tell them apart.
    if name == "model_final.pkl":
        name = path.replace("/", "_")
    if name in ("", ".", ".."):
        raise CheckpointError(f"the URL {url} names no file (it ends in a slash)")
    kept = (Path(model_dir) if model_dir is not None else cache_folder()) / name
    if _HASH.search(name) or _origin_of(kept) in ("", _address(url)):
        return kept
    digest = hashlib.sha256(_address(url).encode()).hexdigest()
    return kept.with_name(f"{digest[:8]}_{name}")


def _address(url: str) -> str:
    """What stays the same when the same file is asked for again: without password, and without signatures behind `?`.

    Where the path does not end in the name of a file (`download?id=3`), what is behind `?` counts.
    """
    parts = urlparse(url)
    query = "" if "." in parts.path.rpartition("/")[2] else parts.query
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query, fragment="").geturl()


def _origin_of(path: Path) -> str:
    """Where a cached file came from; "" where nobody knows, as for one that was put there by hand."""
    try:
        return _origin(path).read_text(encoding="utf-8").strip() if path.is_file() else ""
    except (OSError, UnicodeDecodeError):
        return ""


def _origin(path: Path) -> Path:
    return path.with_name(f"{path.name}.url")


def cache_url(
    url: str, model_dir: str | os.PathLike[str] | None = None, progress: bool = True
) -> str:
    """Return the cached file behind `url`, downloaded first if it is not there.

    In a distributed run the first process downloads and the others wait.

    Args:
        url: http, https or file.
        model_dir: the cache, by default `cache_folder()`.
        progress: whether to show a bar.

    Raises:
        CheckpointError: if the download fails; it names the place to put the file by hand.
    """
    path = cached_path(url, model_dir)
    failure = ""
    if is_main_process():
        try:
            if not path.exists():
                _download(url, path, progress=progress)
        except (OSError, ValueError, http.client.HTTPException, CheckpointError) as error:
            failure = str(error) or type(error).__name__
    failures = all_gather(failure)
    if failures[0]:
        raise CheckpointError(
            f"could not download {url}: {failures[0]}. Without a network connection, get the file "
            f"some other way and put it at {path}"
        )
    logger.info("url %s cached in %s", url, path)
    return str(path)


@dataclass
class _Identity:
    """Which file on the server a part belongs to.

    Attributes:
        url: its address.
        tag: the server's mark of this version (ETag or date); "" if it gives none.
        length: bytes in all; -1 if the server does not say.
    """

    url: str
    tag: str = ""
    length: int = -1


class _BrokenConnectionError(Exception):
    """The server stopped before the end; what came is kept."""


def _download(url: str, path: Path, *, progress: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with _locked(part):
        if path.exists():  # Another process was faster.
            return
        logger.info("Downloading %s to %s", url, path)
        for attempt in range(1, _ATTEMPTS + 1):
            before = _size(part)
            try:
                _fetch(url, part, description=path.name if progress else None)
                break
            except _BrokenConnectionError as error:
                is_kept = _read_note(part, url=url) is not None
                if not is_kept:
                    _discard(part)
                if not is_kept or attempt == _ATTEMPTS or _size(part) == before:
                    kept = "; what came is kept, and the next attempt goes on from there"
                    raise CheckpointError(f"{error}{kept if is_kept else ''}") from error
                logger.warning("%s; taking it up again", error)
        _check_content(part)
        _check_hash(part, name=path.name)
        if _HASH.search(path.name) is None:
            _origin(path).write_text(_address(url), encoding="utf-8")
        os.replace(part, path)
        _note(part).unlink(missing_ok=True)


def _fetch(url: str, part: Path, *, description: str | None) -> None:
    """Bring the rest of a file, all of it where there is no usable beginning."""
    known = _read_note(part, url=url)
    if known is not None and known.length == _size(part) > 0:
        return
    request = urllib.request.Request(url)
    if known is not None:
        request.add_header("Range", f"bytes={_size(part)}-")
        if known.tag:  # The rest of this version, or the whole of a newer one.
            request.add_header("If-Range", known.tag)
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416 or known is None:
            raise
        part.unlink()  # More than there is: another file.
        response = urllib.request.urlopen(url, timeout=_TIMEOUT_S)
    with response:
        start, identity = _describe(response, url=url)
        if start not in (0, _size(part)):
            wanted = _size(part)
            _discard(part)
            raise CheckpointError(f"the server sent the file from byte {start}, not from {wanted}")
        _note(part).write_text(json.dumps(asdict(identity)))
        with open(part, "ab" if start else "wb") as file:
            _copy(response, file, start=start, total=identity.length, description=description)
            file.flush()
            os.fsync(file.fileno())


def _describe(response: Any, *, url: str) -> tuple[int, _Identity]:
    """Where in the file the answer begins, and which file it is."""
    headers = response.headers
    tag = headers.get("ETag") or headers.get("Last-Modified") or ""
    # Weak marks do not promise the same bytes.
    tag = "" if tag.startswith("W/") else tag
    found = _RANGE.fullmatch(headers.get("Content-Range") or "")
    if getattr(response, "status", None) == 206 and found:
        length = -1 if found[2] == "*" else int(found[2])
        return int(found[1]), _Identity(url=url, tag=tag, length=length)
    length = headers.get("Content-Length")
    return 0, _Identity(url=url, tag=tag, length=int(length) if length else -1)


def _copy(
    response: Any, file: IO[bytes], *, start: int, total: int, description: str | None
) -> None:
    done = start
    known = total if total >= 0 else None
    with progress_bar(description or "", total=known, completed=start, unit="B") as bar:
        try:
            # `read1` gives what has come, so that it is kept when the connection breaks.
            while chunk := response.read1(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                if description is not None:
                    bar.advance(len(chunk))
        except (ConnectionError, TimeoutError, http.client.HTTPException) as error:
            raise _BrokenConnectionError(
                f"the connection broke after {done} bytes ({error})"
            ) from error
    if known is not None and done != known:
        raise _BrokenConnectionError(f"the connection broke after {done} of {known} bytes")


def _check_content(part: Path) -> None:
    """Refuse what no file of weights is, so that it is not kept for one."""
    with open(part, "rb") as file:
        head = file.read(64).lstrip().lower()
    found = next((what for starts, what in _NO_FILES if head.startswith(starts)), None)
    what = found or ("" if _size(part) else "nothing")
    if what:
        _discard(part)
        raise CheckpointError(f"the server sent {what} in place of the file")


def _check_hash(part: Path, *, name: str) -> None:
    """Compare with the digits in the name, if there are any; a wrong file is not kept."""
    expected = _HASH.search(name)
    if expected is None:
        return
    digest = hashlib.sha256()
    with open(part, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if not digest.hexdigest().startswith(expected[1]):
        _discard(part)
        raise CheckpointError(
            f"the SHA-256 of the downloaded file is {digest.hexdigest()}, its name promises {expected[1]}"
        )


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_note(part: Path, *, url: str) -> _Identity | None:
    """What is known of a part that can be gone on from; None if it has to be fetched anew."""
    try:
        known = _Identity(**json.loads(_note(part).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    can_be_checked = bool(known.tag or _HASH.search(part.name))
    return known if known.url == url and can_be_checked and _size(part) else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def _locked(part: Path) -> Iterator[None]:
    """Let one process of this machine write the part; others wait for it."""
    try:
        import fcntl
    except ImportError:  # Windows: two downloads of one file at once are not guarded there.
        yield
        return
    lock = part.with_name(f"{part.name}.lock")
    with open(lock, "w") as file:
        with contextlib.suppress(OSError):  # Some network file systems cannot lock.
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
