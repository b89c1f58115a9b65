"""How fast images come: reading and decoding a file, transforms, batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from maskrcnn_benchmark.bench.timing import Timing, take_turns
from maskrcnn_benchmark.build.data import build_transforms, image_format_of
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.predict.sources import read_source
from maskrcnn_benchmark.structures.image_list import to_image_list

_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def list_images(folder: Path, *, most: int = 50) -> list[Path]:
    """Some images of a folder, its sub-folders included.

    Raises:
        DatasetError: if there are none.
    """
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in _ENDINGS][:most]
    if not found:
        raise DatasetError(
            f"{folder}: no image in it ({', '.join(_ENDINGS)}). Give another folder with --images."
        )
    return found


def time_data(cfg: Config, images: list[Path], *, rounds: int) -> dict[str, Timing]:
    """Seconds for all the images: decode, preprocess (resize, normalise), batch (pad), on one core.

    Args:
        cfg: how images are prepared, as in a test.
        images: files.
        rounds: how often.

    Raises:
        DatasetError: if a file cannot be read; names it.
    """
    transforms, wanted = build_transforms(cfg, is_train=False), image_format_of(cfg)
    decoded = [read_source(path, wanted) for path in images]
    prepared = [transforms(image) for image in decoded]
    steps: dict[str, Callable[[], object]] = {
        "decode": lambda: [read_source(path, wanted) for path in images],
        "preprocess": lambda: [transforms(image) for image in decoded],
        "batch": lambda: to_image_list(prepared, cfg.DATALOADER.SIZE_DIVISIBILITY),
    }
    return take_turns(steps, rounds=rounds)
