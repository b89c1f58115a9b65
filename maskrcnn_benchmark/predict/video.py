"""Predictions for videos and webcams, by PyAV: a video with what was found drawn in, and a json of all frames."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from maskrcnn_benchmark.errors import DatasetError, MaskRCNNError, MissingExtraError
from maskrcnn_benchmark.predict.folder import make_output_folder
from maskrcnn_benchmark.predict.inputs import check_nothing_is_replaced
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.drawing import draw
from maskrcnn_benchmark.results.writers import write_coco
from maskrcnn_benchmark.utils.atomic import atomic_write, remove_stale_temporaries
from maskrcnn_benchmark.utils.interrupt import Interrupt
from maskrcnn_benchmark.utils.progress import progress_bar

logger = logging.getLogger(__name__)

PathLike: TypeAlias = str | os.PathLike[str]

# In this order, as far as this PyAV can write them.
_CODECS = ("libx264", "mpeg4")
# Endings that are not the names of their formats.
_FORMATS = {".mkv": "matroska"}
_FRAMES_PER_SECOND = Fraction(25)  # where a source does not say


@dataclass
class VideoReport:
    """What became of a video.

    Attributes:
        video: with what was found drawn in.
        predictions: the json file, in COCO's format: an image for each frame, named FILE#NUMBER.
        num_frames: that were looked at.
        num_objects: detections in all frames together.
        remark: why it ended early, if it did.
    """

    video: Path
    predictions: Path
    num_frames: int = 0
    num_objects: int = 0
    remark: str = ""
    found: list[Detections] = field(default_factory=list, repr=False)


def predict_video(
    predictor: Any,
    source: PathLike | int,
    output: PathLike,
    *,
    category_ids: Mapping[int, int] | None = None,
    max_frames: int | None = None,
    show: Callable[[Image.Image, str], bool | None] | None = None,
) -> VideoReport:
    """Find objects in all frames.

    A video that is cut off or damaged is looked at as far as it goes. When the work is interrupted, what was done until
    then is kept, as a whole video. Sound is left out, and the frames come at the average rate of the source.

    Args:
        predictor: a Predictor.
        source: a file, or the number of a webcam, which goes on until it is interrupted.
        output: the video to write, `.mp4`; the json lies beside it.
        category_ids: label -> category id in the json; None where labels are the ids.
        max_frames: stop after so many.
        show: called with each picture and the name of the source; where it returns False, the work ends.

    Raises:
        MissingExtraError: without PyAV.
        DatasetError: if the source is not there or no video, or `output` would replace it.
        ConfigError: if the output folder cannot be made.
        MaskRCNNError: if the disk is full, or the video cannot be written for another reason.
        KeyboardInterrupt: when the frame has been finished that was looked at when Ctrl-C or SIGTERM came.
    """
    output = Path(output)
    report = VideoReport(video=output, predictions=output.with_suffix(".json"))
    name = f"webcam {source}" if isinstance(source, int) else os.fspath(source)
    if not isinstance(source, int):
        check_nothing_is_replaced([Path(source)], [output])
    with open_video(source) as stream:
        make_output_folder(output.parent)
        remove_stale_temporaries(output.parent)
        try:
            try:
                _go_through(predictor, stream, name, report, max_frames, show)
            finally:
                write_coco(report.predictions, report.found, category_ids=category_ids)
        except OSError as error:
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            what = "the disk is full" if is_full else "the work cannot go on"
            raise MaskRCNNError(
                f"{what}: {error}. {report.num_frames} frames of {name} were done; "
                f"{'make room' if is_full else 'remove the cause'} and start again"
            ) from error
    report.remark = stream.remark
    if report.remark:
        logger.warning("%s", report.remark)
    return report


def _go_through(
    predictor: Any,
    stream: VideoStream,
    name: str,
    report: VideoReport,
    max_frames: int | None,
    show: Callable[[Image.Image, str], bool | None] | None,
) -> None:
    waiting: dict[int, Image.Image] = {}

    def frames() -> Iterator[Image.Image]:
        for index, frame in enumerate(stream.frames()):
            if index == max_frames:
                return
            waiting[index] = frame
            yield frame

    total = min(filter(None, (stream.num_frames, max_frames)), default=None)
    with (
        progress_bar(f"Predicting {name}", total=total) as bar,
        VideoWriter(report.video, rate=stream.rate) as writer,
        # Between a frame in the video and its line in the json, nothing may come.
        Interrupt("finishing this frame") as interrupt,
    ):
        for index, found in predictor.iterate(frames()):
            frame = waiting.pop(index)
            picture = draw(frame, found)
            writer.write(picture)
            report.found.append(found.with_source(path=f"{name}#{index + 1}", image_id=index + 1))
            report.num_frames += 1
            report.num_objects += len(found)
            bar.advance()
            if show is not None and show(picture, name) is False:
                return
            interrupt.check(f"{report.num_frames} frames of {name} are in {report.video}")


class VideoStream:
    """The pictures of a video that is open.

    Attributes:
        rate: frames per second.
        num_frames: as the file says; None where it does not.
        remark: why there were fewer, once all have been read.
    """

    def __init__(self, container: Any, name: str) -> None:
        """Take PyAV's container and what messages call it."""
        self._container, self._name = container, name
        self._stream = container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.rate = Fraction(self._stream.average_rate or _FRAMES_PER_SECOND)
        self.num_frames: int | None = self._stream.frames or None
        self.remark = ""

    def frames(self) -> Iterator[Image.Image]:
        """RGB pictures, upright, until the end or the first damage."""
        av = _import_av()
        count = 0
        try:
            for frame in self._container.decode(self._stream):
                count += 1
                yield _upright(frame)
        except av.error.FFmpegError as error:
            self.remark = f"{self._name} ends after {count} frames, in the middle of one: {error}"
            return
        if self.num_frames is not None and count < self.num_frames:
            self.remark = f"{self._name} ends after {count} of {self.num_frames} frames: it is cut off or damaged"


class VideoWriter:
    """Pictures of one size to a file that is whole whenever the block ends, and only then has its name."""

    def __init__(self, path: PathLike, *, rate: Fraction = _FRAMES_PER_SECOND) -> None:
        """Write to `path` (`.mp4`) with `rate` frames per second; without a picture there is no file."""
        self._av = _import_av()
        self._path, self._rate = os.fspath(path), rate
        self._container: Any = None
        self._stream: Any = None
        self._file = ExitStack()

    def write(self, picture: Image.Image) -> None:
        """Append a picture, RGB."""
        if self._container is None:
            self._open(picture)
        # Colours are stored for 2 x 2 pixels: odd sides lose their last pixel.
        even = picture.crop((0, 0, self._stream.width, self._stream.height))
        frame = self._av.VideoFrame.from_ndarray(np.asarray(even.convert("RGB")), format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def _open(self, picture: Image.Image) -> None:
        codec = next(name for name in _CODECS if name in self._av.codecs_available)
        file = self._file.enter_context(atomic_write(self._path, "wb"))
        suffix = Path(self._path).suffix.lower()
        self._container = self._av.open(file, mode="w", format=_FORMATS.get(suffix, suffix[1:]))
        self._stream = self._container.add_stream(codec, rate=self._rate.limit_denominator(65535))
        self._stream.width = max(picture.width // 2 * 2, 2)
        self._stream.height = max(picture.height // 2 * 2, 2)
        self._stream.pix_fmt = "yuv420p"
        if codec == "libx264":
            self._stream.options = {"crf": "20"}
        else:
            self._stream.bit_rate = 8_000_000

    def close(self) -> None:
        """Bring the file to its end."""
        if self._container is not None:
            container, self._container = self._container, None
            with self._file:
                try:
                    container.mux(self._stream.encode(None))
                finally:
                    container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def open_video(source: PathLike | int) -> Iterator[VideoStream]:
    """Open a file, or a webcam by its number.

    Raises:
        MissingExtraError: without PyAV.
        DatasetError: if it is not there, or no video.
    """
    av = _import_av()
    name = f"webcam {source}" if isinstance(source, int) else f"'{os.fspath(source)}'"
    try:
        container = _open(av, source)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if isinstance(source, int):
            raise DatasetError(
                f"there is no webcam {source}: {error}. Is it connected, and may this program use it?"
            ) from error
        if isinstance(error, FileNotFoundError):
            raise DatasetError(f"there is no video {name}") from error
        raise DatasetError(
            f"{name} cannot be read as a video: {error}. It is damaged, cut off or not a video"
        ) from error
    with container:
        if not container.streams.video:
            raise DatasetError(f"{name} holds no pictures, only sound or text")
        yield VideoStream(container, name)


def _open(av: Any, source: PathLike | int) -> Any:
    if not isinstance(source, int):
        return av.open(os.fspath(source))
    number = source
    if sys.platform == "darwin":
        return av.open(str(number), format="avfoundation", options={"framerate": "30"})
    if sys.platform == "win32":
        return av.open(f"video={number}", format="dshow")
    return av.open(f"/dev/video{number}", format="v4l2")


def _upright(frame: Any) -> Image.Image:
    """A frame turned as the file says it is to be looked at."""
    picture: Image.Image = frame.to_image()
    turn = round(getattr(frame, "rotation", 0) or 0) % 360  # counterclockwise
    return picture.rotate(turn, expand=True) if turn else picture


def _import_av() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("av", extra="video", purpose="reading and writing video") from error
    return av
