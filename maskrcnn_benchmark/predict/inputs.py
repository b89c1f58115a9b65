"""Which files are meant: images, folders, patterns, videos, webcams; and what their results are called."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
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
_LONGEST_NAME = 200  # bytes


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
        leave_out: a folder whose files are not taken where it lies in a folder, or in that of a pattern: that of the
            results.

    Raises:
        DatasetError: if an input is not there, there is no image or video among them, or an input is the folder
            `leave_out` itself, in which what it finds could not be told from results.
    """
    images: dict[Path, None] = {}
    videos: dict[Path, None] = {}
    found = Inputs()
    hidden = None if leave_out is None else Path(leave_out).resolve()
    for entry in inputs:
        path = Path(entry)
        if path.is_dir():
            found.roots.append(path)
            files = _files_in(path, recursive=recursive, hidden=_inside(path, hidden, entry))
        elif path.exists():
            # Named by itself: taken whatever its ending.
            (videos if path.suffix.lower() in VIDEO_SUFFIXES else images)[path] = None
            continue
        elif os.fspath(entry).isdigit():
            found.webcams.append(int(os.fspath(entry)))
            continue
        else:
            pattern = os.fspath(entry)
            files = _expand(pattern, _inside(_fixed_part(pattern), hidden, entry))
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


def name_results(
    files: Sequence[Path],
    roots: Sequence[Path] = (),
    *,
    earlier: Mapping[Path, Path] | None = None,
) -> dict[Path, Path]:
    """Where the results of each file go, without an ending: named as the file, numbered where several have the same.

    Args:
        files: each once.
        roots: a file in one of these folders keeps its place in it.
        earlier: file -> name, of results that are there: files keep their names, and others do not get them.
    """
    earlier = earlier or {}
    names: dict[Path, Path] = {}
    taken = {str(name).lower() for name in earlier.values()}
    for path in files:
        if path in earlier:
            names[path] = earlier[path]
            continue
        plain = _shorten(_place_in(path, roots).with_suffix(""))
        name, number = plain, 1
        while str(name).lower() in taken:  # Some file systems do not tell A from a.
            number += 1
            name = plain.with_name(f"{plain.name}_{number}")
        taken.add(str(name).lower())
        names[path] = name
    return names


def check_nothing_is_replaced(inputs: Iterable[Path], results: Iterable[Path]) -> None:
    """See that no result would be written over an input.

    Raises:
        DatasetError: if one would; nothing has been written then.
    """
    files = {path.resolve() for path in inputs}
    for result in results:
        if result.resolve() in files:
            raise DatasetError(
                f"the result '{result}' would replace '{result.name}', which is to be looked at; "
                "choose another output folder"
            )


def _shorten(name: Path) -> Path:
    """Room for endings, numbers and temporary files: file systems take names of 255 bytes."""
    kept = os.fsencode(name.name)[:_LONGEST_NAME].decode("utf-8", "ignore")
    return name if len(os.fsencode(name.name)) <= _LONGEST_NAME else name.with_name(kept)


def _inside(folder: Path, results: Path | None, entry: PathLike) -> Path | None:
    """The folder of the results, if it lies in another one."""
    whole = folder.resolve()
    if results is None or not results.is_relative_to(whole):
        return None
    if results == whole:
        raise DatasetError(
            f"the results would lie among the images of '{os.fspath(entry)}'; choose another output folder"
        )
    return results


def _fixed_part(pattern: str) -> Path:
    """The folder in which a pattern looks."""
    parts = Path(pattern).parts[:-1]
    return Path(*itertools.takewhile(lambda part: not glob.has_magic(part), parts))


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
