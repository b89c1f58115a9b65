"""Predictions for many image files: a picture of each, and one json for all."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from maskrcnn_benchmark.data.datasets.channels import PHOTOGRAPH, to_picture
from maskrcnn_benchmark.errors import ConfigError, DatasetError, MaskRCNNError
from maskrcnn_benchmark.predict.images import ImageSource, read_input
from maskrcnn_benchmark.predict.inputs import (
    IMAGE_SUFFIXES,
    PathLike,
    check_nothing_is_replaced,
    find_images,
    name_results,
    sort_inputs,
)
from maskrcnn_benchmark.predict.journal import PREDICTIONS_FILE, Journal
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.drawing import draw
from maskrcnn_benchmark.results.instance_png import write_png
from maskrcnn_benchmark.results.labelme import to_labelme
from maskrcnn_benchmark.results.writers import write_csv, write_json
from maskrcnn_benchmark.results.yolo import to_yolo
from maskrcnn_benchmark.utils.atomic import atomic_write, remove_stale_temporaries
from maskrcnn_benchmark.utils.interrupt import Interrupt
from maskrcnn_benchmark.utils.progress import progress_bar

__all__ = [
    "IMAGE_SUFFIXES",
    "PREDICTIONS_FILE",
    "FolderReport",
    "find_images",
    "predict_files",
    "predict_folder",
]

logger = logging.getLogger(__name__)

FORMATS = ("coco", "labelme", "yolo", "csv", "png")
# Format -> the folder and the ending of the file of each image.
_OWN_FILES = {
    "labelme": ("labelme", "json"),
    "yolo": ("labels", "txt"),
    "png": ("instances", "png"),
}
CSV_FILE = "predictions.csv"
_JPEG_QUALITY = 92

Predict = Callable[[ImageSource], Detections]
Show = Callable[[Image.Image, str], object]


@dataclass
class FolderReport:
    """What became of the files.

    Attributes:
        predictions: the json file with all results, in COCO's format.
        pictures: image file -> picture of its detections.
        num_objects: detections in all images together.
        skipped: image file -> why it could not be read.
        num_earlier: images whose results were there already.
    """

    predictions: Path
    pictures: dict[Path, Path] = field(default_factory=dict)
    num_objects: int = 0
    skipped: dict[Path, str] = field(default_factory=dict)
    num_earlier: int = 0


def predict_folder(
    predictor: Predict,
    inputs: Sequence[PathLike],
    output_dir: PathLike,
    *,
    category_ids: Mapping[int, int] | None = None,
    formats: Sequence[str] = ("coco",),
    with_pictures: bool = True,
    recursive: bool = False,
    resume: bool = True,
    show: Show | None = None,
) -> FolderReport:
    """Predict for image files and write what was found.

    Writes a picture for each image, under its name as `.jpg`, and `predictions.json`: images, categories and
    annotations with scores. A file that cannot be read is reported and skipped. When the work is interrupted, the json
    holds what was done until then, and the same call goes on there: images that have results of a Predictor with the
    same settings are not looked at again.

    Args:
        predictor: a Predictor, or anything that finds objects in an image.
        inputs: image files, folders whose image files are taken, and patterns.
        output_dir: created if it is not there.
        category_ids: label -> category id in the json; None where labels are the ids.
        formats: what to write besides COCO's json: labelme (`labelme/NAME.json`), yolo (`labels/NAME.txt` and
            `labels/classes.txt`), png (`instances/NAME.png`, see `results.instance_png`), csv (`predictions.csv`).
        with_pictures: draw.
        recursive: also look into the folders in folders.
        resume: False: look at all images again.
        show: called with each picture and the name of its file.

    Raises:
        DatasetError: if an input is not there, there is no image among them, or a picture would replace one.
        ConfigError: if the output folder cannot be made.
        MaskRCNNError: if the disk is full, or a result cannot be written for another reason.
        KeyboardInterrupt: when the image has been finished that was looked at when Ctrl-C or SIGTERM came.
    """
    found = sort_inputs(inputs, recursive=recursive, leave_out=output_dir if recursive else None)
    return predict_files(
        predictor,
        found.images,
        output_dir,
        roots=found.roots,
        category_ids=category_ids,
        formats=formats,
        with_pictures=with_pictures,
        resume=resume,
        show=show,
    )


def predict_files(
    predictor: Predict,
    files: Sequence[Path],
    output_dir: PathLike,
    *,
    roots: Sequence[Path] = (),
    category_ids: Mapping[int, int] | None = None,
    formats: Sequence[str] = ("coco",),
    with_pictures: bool = True,
    resume: bool = True,
    show: Show | None = None,
) -> FolderReport:
    """`predict_folder` for files that are known already.

    Args:
        predictor: as there.
        files: images, each once.
        output_dir: as there.
        roots: results lie as their files lie in these folders.
        category_ids: as there.
        formats: as there.
        with_pictures: as there.
        resume: as there.
        show: as there.

    Raises:
        ConfigError: for a format that is not known.
        DatasetError: see there.
        MaskRCNNError: see there.
        KeyboardInterrupt: see there.
    """
    unknown = set(formats) - set(FORMATS)
    if unknown:
        raise ConfigError(
            f"formats: expected some of {', '.join(FORMATS)}, got {', '.join(unknown)}"
        )
    folder = Path(output_dir)
    settings = getattr(predictor, "settings", None)
    if settings is not None:
        settings = {**settings, "formats": sorted(formats)}
    journal = Journal(folder, settings=settings, category_ids=category_ids, resume=resume)
    work = _Work(
        predictor=predictor,
        folder=folder,
        names=name_results(files, roots, earlier=journal.names()),
        formats=tuple(formats),
        with_pictures=with_pictures,
        show=show,
    )
    check_nothing_is_replaced(files, work.results())
    make_output_folder(folder)
    remove_stale_temporaries(folder)
    report = work.run(journal)
    if report.skipped:
        logger.warning("%d of %d files could not be read", len(report.skipped), len(files))
    return report


@dataclass(kw_only=True)
class _Work:
    """The files of one call.

    Attributes:
        predictor: see `predict_folder`.
        folder: of the results.
        names: image -> its results, without an ending.
        formats: see `predict_folder`.
        with_pictures: see `predict_folder`.
        show: see `predict_folder`.
    """

    predictor: Predict
    folder: Path
    names: dict[Path, Path]
    formats: tuple[str, ...]
    with_pictures: bool
    show: Show | None

    def picture_of(self, path: Path) -> Path:
        """Where an image is drawn."""
        name = self.names[path]
        return self.folder / name.with_name(f"{name.name}.jpg")

    def results(self) -> Iterator[Path]:
        """All files that may be written for the images."""
        for path in self.names:
            if self.with_pictures:
                yield self.picture_of(path)
            for each in self.formats:
                if each in _OWN_FILES:
                    yield self._own_file(*_OWN_FILES[each], path)

    def run(self, journal: Journal) -> FolderReport:
        """Look at all images that have no results yet."""
        report = FolderReport(predictions=journal.path)
        try:
            try:
                self._go_through(journal, report)
            finally:
                journal.close()
                if "csv" in self.formats:
                    write_csv(self.folder / CSV_FILE, journal.detections())
        except OSError as error:
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            what = "the disk is full" if is_full else "the work cannot go on"
            remedy = "make room" if is_full else "remove the cause"
            raise MaskRCNNError(
                f"{what}: {error}. The results of {len(journal.images)} images are kept in {self.folder}; "
                f"{remedy} and give the same command again: it goes on there"
            ) from error
        return report

    def _go_through(self, journal: Journal, report: FolderReport) -> None:
        ids = {path: number for number, path in enumerate(self.names, start=1)}
        left = []
        for path in self.names:
            if journal.is_done(path) and (not self.with_pictures or self.picture_of(path).exists()):
                report.num_earlier += 1
                report.num_objects += len(journal.annotations[str(path)])
                report.pictures[path] = self.picture_of(path)
            else:
                left.append(path)
        with (
            progress_bar("Predicting", total=len(self.names), completed=report.num_earlier) as bar,
            Interrupt("finishing this image") as interrupt,
        ):
            for path, image, found in self._predict(left, report):
                if found is not None:
                    journal.begin(found)
                    self._write(path, image, found, report)
                    journal.add(path, found, image_id=ids[path], results=self.names[path])
                    report.num_objects += len(found)
                bar.advance()
                interrupt.check(
                    f"The results of {len(journal.images)} images are in {self.folder}; the same command goes on there"
                )

    def _predict(
        self, paths: list[Path], report: FolderReport
    ) -> Iterator[tuple[Path, Any, Detections | None]]:
        """Path, image and what is in it; None for a file that cannot be read."""
        wanted = getattr(self.predictor, "image_format", PHOTOGRAPH)
        waiting: dict[int, tuple[Path, Image.Image | Tensor]] = {}
        failed: list[Path] = []

        def skip(path: Path, error: Exception) -> None:
            report.skipped[path] = str(error)
            logger.warning("Skipped: %s", error)
            failed.append(path)

        def images() -> Iterator[Image.Image | Tensor]:
            for path in paths:
                try:
                    image = read_input(path, wanted)
                except DatasetError as error:
                    skip(path, error)
                    continue
                waiting[len(waiting_order)] = (path, image)
                waiting_order.append(path)
                yield image

        waiting_order: list[Path] = []
        for index, found in self._iterate(
            images(), lambda index, error: skip(waiting.pop(index)[0], error)
        ):
            yield from ((path, None, None) for path in _take(failed))
            path, image = waiting.pop(index)
            yield path, image, found
        yield from ((path, None, None) for path in _take(failed))

    def _iterate(
        self,
        images: Iterator[Image.Image | Tensor],
        skipped: Callable[[int, Exception], None],
    ) -> Iterator[tuple[int, Detections]]:
        if hasattr(self.predictor, "iterate"):
            yield from self.predictor.iterate(images, skipped=skipped)
            return
        for index, image in enumerate(images):
            try:
                found = self.predictor(image)
            except DatasetError as error:
                skipped(index, error)
                continue
            yield index, found

    def _write(self, path: Path, image: Any, found: Detections, report: FolderReport) -> None:
        """The files of one image."""
        found = found.with_source(path=str(path))
        if self.with_pictures or self.show is not None:
            picture = draw(to_picture(image) if isinstance(image, Tensor) else image, found)
            if self.with_pictures:
                report.pictures[path] = self.picture_of(path)
                _write_picture(report.pictures[path], picture)
            if self.show is not None:
                self.show(picture, str(path))
        if "labelme" in self.formats:
            write_json(self._make_own_file("labelme", path), _labelme(found, path))
        if "yolo" in self.formats:
            _write_text(self._make_own_file("yolo", path), to_yolo(found))
            _write_text(self.folder / "labels" / "classes.txt", "\n".join(found.class_names[1:]))
        if "png" in self.formats:
            write_png(self._make_own_file("png", path), found)

    def _own_file(self, kind: str, suffix: str, path: Path) -> Path:
        name = self.names[path]
        return self.folder / kind / name.with_name(f"{name.name}.{suffix}")

    def _make_own_file(self, written: str, path: Path) -> Path:
        file = self._own_file(*_OWN_FILES[written], path)
        file.parent.mkdir(parents=True, exist_ok=True)
        return file


def _take(paths: list[Path]) -> list[Path]:
    """Everything in a list, which is empty then."""
    taken = list(paths)
    paths.clear()
    return taken


def _labelme(found: Detections, path: Path) -> dict[str, Any]:
    # A person is to move the points: half a pixel is seen by nobody.
    return to_labelme(found, image_path=str(path.resolve()), tolerance=0.5)


def make_output_folder(folder: Path) -> None:
    """Make the folder of the results.

    Raises:
        ConfigError: if that cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the folder of the results '{folder}' cannot be made: {error.strerror}. Choose another one"
        ) from error


def _write_picture(path: Path, picture: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, "wb") as file:
        picture.save(file, format="JPEG", quality=_JPEG_QUALITY, subsampling=0)


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text)
