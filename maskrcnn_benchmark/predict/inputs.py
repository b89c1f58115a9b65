"""Which files are meant: images, folders, patterns, videos, webcams; and what their results are called."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from maskrcnn_benchmark.errors import DatasetError

PathLike = str | os.PathLike[str]

# Endings that are looked for in a folder.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".npy"}
)
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts"}
)


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What is to be looked at.

    Attributes:
        images: files, each once.
        videos: files, each once.
        webcams: by number.
        roots: folders that were named; results lie as their files lie in them.
    """

    images: list[Path] = field(default_factory=list)
    videos: list[Path] = field(default_factory=list)
    webcams: list[int] = field(default_factory=list)
    roots: list[Path] = field(default_factory=list)


def sort_inputs(
    inputs: Sequence[PathLike], *, recursive: bool = True, leave_out: PathLike | None = None
) -> Inputs:
    """Find out what is meant.

    Args:
        inputs: files, folders, patterns such as `photos/**/*.jpg`, and numbers of webcams.
        recursive: also look into the folders in folders.
        leave_out: a folder whose files are not taken where a folder or a pattern finds them: that of the results.

    Raises:
        DatasetError: if an input is not there, or there is no image or video among them.
    """
    images: dict[Path, None] = {}
    videos: dict[Path, None] = {}
    found = Inputs()
    hidden = None if leave_out is None else Path(leave_out).resolve()
    for entry in inputs:
        path = Path(entry)
        if path.is_dir():
            found.roots.append(path)
            files = _files_in(path, recursive=recursive, hidden=hidden)
        elif path.exists():
            # Named by itself: taken whatever its ending.
            (videos if path.suffix.lower() in VIDEO_SUFFIXES else images)[path] = None
            continue
        elif os.fspath(entry).isdigit():
            found.webcams.append(int(os.fspath(entry)))
            continue
        else:
            files = _expand(os.fspath(entry), hidden)
        images.update(dict.fromkeys(f for f in files if f.suffix.lower() in IMAGE_SUFFIXES))
        videos.update(dict.fromkeys(f for f in files if f.suffix.lower() in VIDEO_SUFFIXES))
    found.images.extend(images)
    found.videos.extend(videos)
    if not (images or videos or found.webcams):
        listed = ", ".join(f"'{os.fspath(entry)}'" for entry in inputs) or "nothing"
        raise DatasetError(
            f"no image in {listed}; expected files that end in {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    return found


def find_images(inputs: Sequence[PathLike], *, recursive: bool = False) -> list[Path]:
    """The image files that are meant, each once, those of a folder in the order of their names.

    Args:
        inputs: files (taken whatever their ending), folders and patterns.
        recursive: also look into the folders in folders.

    Raises:
        DatasetError: if an input is not there, or there is no image among them.
    """
    return sort_inputs(inputs, recursive=recursive).images


def name_results(files: Sequence[Path], roots: Sequence[Path] = ()) -> dict[Path, Path]:
    """Where the results of each file go, without an ending: named as the file, numbered where several have the same.

    Args:
        files: each once.
        roots: a file in one of these folders keeps its place in it.
    """
    names: dict[Path, Path] = {}
    taken: set[str] = set()
    for path in files:
        plain = _place_in(path, roots).with_suffix("")
        name, number = plain, 1
        while str(name).lower() in taken:  # Some file systems do not tell A from a.
            number += 1
            name = plain.with_name(f"{plain.name}_{number}")
        taken.add(str(name).lower())
        names[path] = name
    return names


def _place_in(path: Path, roots: Sequence[Path]) -> Path:
    for root in roots:
        if path.is_relative_to(root):
            return path.relative_to(root)
    return Path(path.name)


def _files_in(folder: Path, *, recursive: bool, hidden: Path | None) -> list[Path]:
    entries = folder.rglob("*") if recursive else folder.iterdir()
    return [path for path in sorted(entries) if path.is_file() and not _is_in(path, hidden)]


def _expand(pattern: str, hidden: Path | None) -> list[Path]:
    found = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
    files = [path for path in found if path.is_file() and not _is_in(path, hidden)]
    if not files:
        what = "file that fits" if glob.has_magic(pattern) else "file or folder"
        raise DatasetError(f"there is no {what} '{pattern}'")
    return files


def _is_in(path: Path, folder: Path | None) -> bool:
    return folder is not None and path.resolve().is_relative_to(folder)
