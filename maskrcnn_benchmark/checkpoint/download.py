"""Weights from the network, kept in a cache folder."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlparse

from maskrcnn_benchmark.errors import CheckpointError
from maskrcnn_benchmark.utils.atomic import atomic_write
from maskrcnn_benchmark.utils.comm import all_gather, is_main_process
from maskrcnn_benchmark.utils.progress import progress_bar

logger = logging.getLogger(__name__)

# NAME-HEX.pth: the hex digits are the beginning of the file's SHA-256, as in torch's model zoo.
_HASH = re.compile(r"-([0-9a-f]{6,64})\.")
_CHUNK = 1 << 20
_TIMEOUT_S = 30


def cache_folder() -> Path:
    """Return TORCH_MODEL_ZOO, else TORCH_HOME/models, else ~/.torch/models."""
    home = os.environ.get("TORCH_HOME", "~/.torch")
    return Path(os.environ.get("TORCH_MODEL_ZOO", os.path.join(home, "models"))).expanduser()


def cached_path(url: str, model_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return where the file behind `url` is kept, whether it is there yet or not."""
    path = unquote(urlparse(url).path)
    name = path.rsplit("/", 1)[-1]
    # Detectron's files are all called model_final.pkl; their folders tell them apart.
    if name == "model_final.pkl":
        name = path.replace("/", "_")
    if not name:
        raise CheckpointError(f"the URL {url} names no file (it ends in a slash)")
    return (Path(model_dir) if model_dir is not None else cache_folder()) / name


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
    if is_main_process() and not path.exists():
        try:
            _download(url, path, progress=progress)
        except (OSError, ValueError, CheckpointError) as error:
            failure = str(error) or type(error).__name__
    failures = all_gather(failure)
    if failures[0]:
        raise CheckpointError(
            f"could not download {url}: {failures[0]}. Without a network connection, get the file "
            f"some other way and put it at {path}"
        )
    logger.info("url %s cached in %s", url, path)
    return str(path)


def _download(url: str, path: Path, *, progress: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    logger.info("Downloading %s to %s", url, path)
    with (
        urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response,
        atomic_write(path, "wb") as file,
    ):
        digest = _copy(response, file, description=path.name if progress else None)
        expected = _HASH.search(path.name)
        if expected and not digest.startswith(expected[1]):
            raise CheckpointError(
                f"the SHA-256 of the downloaded file is {digest}, its name promises {expected[1]}"
            )


def _copy(response: Any, file: IO[bytes], *, description: str | None) -> str:
    length = response.headers.get("Content-Length")
    total = int(length) if length else None
    digest, done = hashlib.sha256(), 0
    with progress_bar(description or "", total=total, unit="B") as bar:
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            if description is not None:
                bar.advance(len(chunk))
    if total is not None and done != total:
        raise CheckpointError(f"the connection broke after {done} of {total} bytes")
    return digest.hexdigest()
