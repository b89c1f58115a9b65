"""Predictions for many image files: a picture of each, and one json for all."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image
from torch import Tensor

from maskrcnn_benchmark.data.datasets.channels import PHOTOGRAPH, to_picture
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.predict.images import ImageSource, read_input
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.drawing import draw
from maskrcnn_benchmark.results.writers import write_coco
from maskrcnn_benchmark.utils.atomic import atomic_write
from maskrcnn_benchmark.utils.progress import track

logger = logging.getLogger(__name__)

PREDICTIONS_FILE = "predictions.json"
# Endings that are looked for in a folder.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".npy"}
)
_JPEG_QUALITY = 92

PathLike = str | os.PathLike[str]


@dataclass
class FolderReport:
    """What became of the files.

    Attributes:
        predictions: the json file with all results, in COCO's format.
        pictures: image file -> picture of its detections.
        num_objects: detections in all images together.
        skipped: image file -> why it could not be read.
    """

    predictions: Path
    pictures: dict[Path, Path] = field(default_factory=dict)
    num_objects: int = 0
    skipped: dict[Path, str] = field(default_factory=dict)


def predict_folder(
    predictor: Callable[[ImageSource], Detections],
    inputs: Sequence[PathLike],
    output_dir: PathLike,
    *,
    category_ids: dict[int, int] | None = None,
) -> FolderReport:
    """Predict for image files and write what was found.

    Writes a picture for each image, under its name as `.jpg`, and `predictions.json`: images, categories and
    annotations with scores. A file that cannot be read is reported and skipped. When the work is interrupted, the json
    holds what was done until then.

    Args:
        predictor: a Predictor, or anything that finds objects in an image.
        inputs: image files, and folders whose image files are taken.
        output_dir: created if it is not there.
        category_ids: label -> category id in the json; None where labels are the ids.

    Raises:
        DatasetError: if an input is not there, there is no image among them, or a picture would replace one.
    """
    files = find_images(inputs)
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    report = FolderReport(predictions=folder / PREDICTIONS_FILE)
    names = name_pictures(files)
    _check_nothing_is_replaced(files, [folder / name for name in names.values()])
    found: list[Detections] = []
    wanted = getattr(predictor, "image_format", PHOTOGRAPH)
    try:
        for number, path in enumerate(track(files, "Predicting"), start=1):
            try:
                image = read_input(path, wanted)
                detections = predictor(image)
            except DatasetError as error:
                report.skipped[path] = str(error)
                logger.warning("Skipped: %s", error)
                continue
            detections = replace(detections, image_id=number, path=os.fspath(path))
            report.pictures[path] = folder / names[path]
            shown = to_picture(image) if isinstance(image, Tensor) else image
            _write_picture(report.pictures[path], draw(shown, detections))
            report.num_objects += len(detections)
            found.append(detections)
    finally:
        write_coco(report.predictions, found, category_ids=category_ids)
    if report.skipped:
        logger.warning("%d of %d files could not be read", len(report.skipped), len(files))
    return report


def find_images(inputs: Sequence[PathLike]) -> list[Path]:
    """The image files that are meant, each once, those of a folder in the order of their names.

    Args:
        inputs: files (taken whatever their ending) and folders (not those inside them).

    Raises:
        DatasetError: if an input is not there, or there is no image among them.
    """
    files: dict[Path, None] = {}
    for entry in map(Path, inputs):
        if entry.is_dir():
            inside = sorted(path for path in entry.iterdir() if path.is_file())
            files.update(
                dict.fromkeys(path for path in inside if path.suffix.lower() in IMAGE_SUFFIXES)
            )
        elif entry.exists():
            files[entry] = None
        else:
            raise DatasetError(f"there is no file or folder '{entry}'")
    if not files:
        listed = ", ".join(f"'{os.fspath(entry)}'" for entry in inputs) or "nothing"
        raise DatasetError(
            f"no image in {listed}; expected files that end in {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    return list(files)


def name_pictures(files: Sequence[Path]) -> dict[Path, str]:
    """A name for the picture of each file: that of the file, numbered where several have the same."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in files:
        name, number = f"{path.stem}.jpg", 1
        while name.lower() in taken:  # Some file systems do not tell A from a.
            number += 1
            name = f"{path.stem}_{number}.jpg"
        taken.add(name.lower())
        names[path] = name
    return names


def _check_nothing_is_replaced(files: Sequence[Path], pictures: Sequence[Path]) -> None:
    images = {path.resolve() for path in files}
    for picture in pictures:
        if picture.resolve() in images:
            raise DatasetError(
                f"the picture of detections '{picture}' would replace the image itself; "
                "choose another output folder"
            )


def _write_picture(path: Path, picture: Image.Image) -> None:
    with atomic_write(path, "wb") as file:
        picture.save(file, format="JPEG", quality=_JPEG_QUALITY, subsampling=0)
