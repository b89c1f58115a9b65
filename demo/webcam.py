"""Objects in what a camera sees, in a window; or in a video or pictures, into a file.

    cd demo
    python webcam.py --min-image-size 300 MODEL.DEVICE cpu
    python webcam.py --input holiday.mp4 --output found.mp4     without a window
    python webcam.py --input photos/ --output found/            OpenCV is not needed

Esc ends it, also Ctrl-C; what was written until then stays.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps
from predictor import COCODemo, Pixels

from maskrcnn_benchmark.cli.group import readable_errors
from maskrcnn_benchmark.cli.legacy_tools import read_config
from maskrcnn_benchmark.errors import ConfigError, DatasetError, MaskRCNNError, MissingExtraError
from maskrcnn_benchmark.predict.folder import make_output_folder
from maskrcnn_benchmark.predict.images import read_image
from maskrcnn_benchmark.predict.inputs import check_nothing_is_replaced
from maskrcnn_benchmark.utils.atomic import atomic_write
from maskrcnn_benchmark.utils.interrupt import Interrupt

CONFIG = "../configs/caffe2/e2e_mask_rcnn_R_50_FPN_1x_caffe2.yaml"
WINDOW = "COCO detections"
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
_ESC = 27
_USUAL_RATE = 25.0  # frames per second, where a camera or a video does not say


def main() -> None:
    """Read the command line, find, draw."""
    args = _parse_arguments()
    with readable_errors():
        run(args)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="PyTorch Object Detection Webcam Demo")
    add = parser.add_argument
    add("--config-file", default=CONFIG, metavar="FILE", help="path to config file")
    add("--confidence-threshold", type=float, default=0.7, help="Minimum score to show")
    add(
        "--min-image-size",
        type=int,
        metavar="PIXELS",
        help="Short side that images are scaled to: smaller is faster, larger finds more "
        "(the config's INPUT.MIN_SIZE_TEST if not given)",
    )
    add("--show-mask-heatmaps", action="store_true", help="Show heat maps of the best masks")
    add("--masks-per-dim", type=int, default=2, help="Heat maps in a row, and rows")
    add(
        "--input",
        default="0",
        metavar="SOURCE",
        help="Number of a camera, a video, a picture, or a folder of pictures (default: camera 0)",
    )
    add(
        "--output",
        metavar="FILE",
        help="Write a video (.mp4, .avi, ...), a picture or a folder of pictures, and open no window",
    )
    add("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs that change the config")
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    """Find objects in everything that the source shows.

    Raises:
        MaskRCNNError: if something is missing or wrong; before the model is loaded, where that can be.
    """
    # From the repository's root as well as from demo/.
    if not Path(args.config_file).is_file():
        args.config_file = args.config_file.removeprefix("../")
    with ExitStack() as stack:
        source = stack.enter_context(open_source(args.input))
        sink = stack.enter_context(open_sink(args.output, source))
        size = {} if args.min_image_size is None else {"min_image_size": args.min_image_size}
        coco_demo = COCODemo(
            read_config(args),
            confidence_threshold=args.confidence_threshold,
            show_mask_heatmaps=args.show_mask_heatmaps,
            masks_per_dim=args.masks_per_dim,
            **size,
        )
        _show_all(coco_demo, source, sink)
    if sink.place:
        print(f"{sink.count} pictures are in {sink.place}")


def _show_all(coco_demo: COCODemo, source: Source, sink: Sink) -> None:
    with Interrupt("finishing this picture") as interrupt:
        for frame in source.frames():
            start_time = time.perf_counter()
            composite = coco_demo.run_on_opencv_image(frame.pixels)
            print(f"Time: {time.perf_counter() - start_time:.2f} s / img", flush=True)
            if not sink.show(Frame(frame.name, composite)):
                break
            interrupt.check(f"{sink.count} pictures are in {sink.place}" if sink.place else "")


def _warn(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _import_cv2(purpose: str) -> Any:
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise MissingExtraError("opencv-python-headless", extra="demo", purpose=purpose) from error


# Where pictures come from


class Frame(NamedTuple):
    """A picture and what it is called."""

    name: str
    pixels: Pixels


class Source(AbstractContextManager["Source"], ABC):
    """Gives pictures.

    Attributes:
        rate: pictures per second.
        is_moving: whether they belong to a film.
        is_single: whether there is but one.
        files: that are read.
    """

    rate = _USUAL_RATE
    is_moving = False
    is_single = False
    files: Sequence[Path] = ()

    @abstractmethod
    def frames(self) -> Iterator[Frame]:
        """The pictures, one after the other."""

    def __exit__(self, *error: object) -> None:
        """Let go of it."""


class Film(Source):
    """A camera or a video."""

    is_moving = True

    def __init__(self, source: int | str) -> None:
        """Open it.

        Raises:
            DatasetError: if that fails.
        """
        what = f"camera {source}" if isinstance(source, int) else f"the video '{source}'"
        self._name, self._is_camera = what, isinstance(source, int)
        self.files = [] if isinstance(source, int) else [Path(source)]
        cv2 = _import_cv2(what)
        self._capture = cv2.VideoCapture(source)
        if not self._capture.isOpened():
            self._capture.release()
            raise DatasetError(
                f"{what} cannot be opened. Is it connected, free, and may you read it (/dev/video*)? "
                "Other cameras: --input 1; without a camera: --input VIDEO or FOLDER"
                if self._is_camera
                else f"{what} cannot be opened: it is damaged, or no video"
            )
        self.rate = self._capture.get(cv2.CAP_PROP_FPS) or _USUAL_RATE
        self._expected = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))

    def frames(self) -> Iterator[Frame]:
        """The pictures, until the film ends."""
        count = 0
        while True:
            is_read, pixels = self._capture.read()
            if not is_read:
                break
            count += 1
            yield Frame(f"frame_{count:06d}.jpg", pixels)
        if not count:
            raise DatasetError(f"{self._name} gave no picture")
        if self._is_camera:
            _warn(f"{self._name} gives no more pictures")
        elif count < self._expected:
            _warn(
                f"{self._name} ended after {count} of {self._expected} frames: it is damaged or cut off"
            )

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self._capture.release()


class Pictures(Source):
    """A picture, or a folder of them."""

    def __init__(self, path: Path) -> None:
        """List the files.

        Raises:
            DatasetError: if a folder has no pictures.
        """
        self.is_single = not path.is_dir()
        found = [path] if self.is_single else sorted(path.iterdir())
        self._paths = [each for each in found if self.is_single or each.suffix.lower() in PICTURES]
        self.files = self._paths
        if not self._paths:
            raise DatasetError(f"the folder '{path}' has no pictures ({', '.join(PICTURES)})")

    def frames(self) -> Iterator[Frame]:
        """The pictures in the order of their names; what cannot be read is reported and left out."""
        unread = 0
        for path in self._paths:
            try:
                image = read_image(path)
            except DatasetError as error:
                unread += 1
                if unread == len(self._paths):
                    raise
                _warn(f"left out: {error}")
                continue
            yield Frame(path.name, _to_bgr(image))
        if unread:
            _warn(f"{unread} of {len(self._paths)} pictures could not be read")


def open_source(name: str) -> Source:
    """Open what `--input` names.

    Raises:
        DatasetError: if there is no such thing.
    """
    if name.isdecimal():
        return Film(int(name))
    path = Path(name).expanduser()
    if not path.exists():
        raise DatasetError(f"--input: there is no file or folder '{name}'")
    if path.is_dir() or path.suffix.lower() in PICTURES:
        return Pictures(path)
    return Film(str(path))


# Where pictures go


class Sink(AbstractContextManager["Sink"], ABC):
    """Takes pictures.

    Attributes:
        place: where they stay; None for a window.
        count: how many it took.
    """

    place: Path | None = None
    count = 0

    @abstractmethod
    def show(self, frame: Frame) -> bool:
        """Take a picture; returns whether more are wanted."""

    def __exit__(self, *error: object) -> None:
        """Finish."""


class Window(Sink):
    """Shows them on the screen; pictures that are no film stay until a key is pressed."""

    def __init__(self, *, is_moving: bool) -> None:
        """Open it.

        Raises:
            ConfigError: if there is no screen, or an OpenCV without windows.
        """
        self._cv2 = _import_cv2("a window")
        self._delay = 1 if is_moving else 0
        remedy = "write to a file instead: --output found.mp4"
        if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
            raise ConfigError(f"there is no screen to open a window on; {remedy}")
        try:
            self._cv2.namedWindow(WINDOW)
        except self._cv2.error as error:
            raise ConfigError(
                f"the installed OpenCV opens no windows; {remedy}, or install the one that does: "
                "pip uninstall opencv-python-headless; pip install opencv-python"
            ) from error

    def show(self, frame: Frame) -> bool:
        """Show it; Esc means that it is enough."""
        self.count += 1
        self._cv2.imshow(WINDOW, frame.pixels)
        return bool(self._cv2.waitKey(self._delay) != _ESC)

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self._cv2.destroyAllWindows()


class VideoFile(Sink):
    """Writes a video as large as the first picture; others are fitted into its frame."""

    def __init__(self, path: Path, *, rate: float) -> None:
        """Name it; it is opened with the first picture."""
        self._cv2 = _import_cv2(f"the video '{path}'")
        self.place = self._path = path
        self._rate = rate
        self._writer: Any = None
        self._size = (0, 0)
        make_output_folder(path.parent)

    def show(self, frame: Frame) -> bool:
        """Append it.

        Raises:
            MaskRCNNError: if the file cannot be written.
        """
        picture = _to_picture(frame.pixels)
        if self._writer is None:
            self._size = picture.size
            codec = self._cv2.VideoWriter_fourcc(*CODECS[self._path.suffix.lower()])
            self._writer = self._cv2.VideoWriter(str(self.place), codec, self._rate, self._size)
            if not self._writer.isOpened():
                raise MaskRCNNError(f"the video '{self.place}' cannot be written there")
        if picture.size != self._size:
            picture = ImageOps.pad(picture, self._size)
        self._writer.write(_to_bgr(picture))
        self.count += 1
        return True

    def __exit__(self, *error: object) -> None:
        """Close it, and see that everything arrived: OpenCV does not tell."""
        if self._writer is None or not self._writer.isOpened():
            return
        self._writer.release()
        written = self._cv2.VideoCapture(str(self.place))
        # -1 of a file that is not there.
        arrived = max(int(written.get(self._cv2.CAP_PROP_FRAME_COUNT)), 0)
        written.release()
        if arrived < self.count:
            raise MaskRCNNError(
                f"only {arrived} of {self.count} pictures are in '{self.place}'. Is the disk full?"
            )


class PictureFiles(Sink):
    """Writes each picture to a file of its own."""

    def __init__(self, place: Path, *, is_folder: bool) -> None:
        """Name the folder, or the one file; see that it can be written."""
        self.place = self._path = place
        self._is_folder = is_folder
        make_output_folder(place if is_folder else place.parent)

    def show(self, frame: Frame) -> bool:
        """Write it.

        Raises:
            MaskRCNNError: if that fails.
        """
        path = self._path / frame.name if self._is_folder else self._path
        kind = Image.registered_extensions()[path.suffix.lower()]
        try:
            with atomic_write(path, "wb") as file:
                _to_picture(frame.pixels).save(file, format=kind)
        except OSError as error:
            raise MaskRCNNError(
                f"'{path}' could not be written: {error.strerror or error}; the {self.count} before it are kept"
            ) from error
        self.count += 1
        return True


def open_sink(name: str | None, source: Source) -> Sink:
    """Make what `--output` names; a window if it names nothing.

    Raises:
        ConfigError: if it cannot hold what the source gives.
        DatasetError: if it would replace a file of the source.
    """
    if name is None:
        return Window(is_moving=source.is_moving)
    path = Path(name).expanduser()
    suffix = path.suffix.lower()
    check_nothing_is_replaced(source.files, [path, *(path / file.name for file in source.files)])
    if suffix in CODECS:
        # Pictures that are no film get a second each.
        return VideoFile(path, rate=source.rate if source.is_moving else 1.0)
    if suffix in PICTURES:
        if not source.is_single:
            raise ConfigError(
                f"--output {name} is one picture, but there are many to write; name a folder, or a video "
                f"({', '.join(CODECS)})"
            )
        return PictureFiles(path, is_folder=False)
    if suffix and not path.is_dir():
        raise ConfigError(
            f"--output {name}: expected a video ({', '.join(CODECS)}), a picture ({', '.join(PICTURES)}) or a folder"
        )
    return PictureFiles(path, is_folder=True)


def _to_bgr(image: Image.Image) -> Pixels:
    return np.ascontiguousarray(np.asarray(image)[..., ::-1])


def _to_picture(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels[..., ::-1]))


if __name__ == "__main__":
    main()
