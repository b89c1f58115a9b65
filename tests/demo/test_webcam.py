"""The webcam demo on pictures and videos, without a camera and without a screen."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark.build.config_files import find_config
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.errors import (
    ConfigError,
    DatasetError,
    MaskRCNNError,
    MissingExtraError,
)
from tests.demo.demo_modules import DEMO, predictor, webcam
from tests.demo.test_predictor import checkpoint, config, picture

TIME = re.compile(r"^Time: \d+\.\d\d s / img$", re.MULTILINE)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a thin model, `small.yaml`, and three pictures, one of them damaged."""
    folder = tmp_path_factory.mktemp("webcam")
    cfg = config(folder)
    cfg.MODEL.WEIGHT = str(checkpoint(cfg, folder / "model.pth"))
    (folder / "small.yaml").write_text(cfg.dump())
    (folder / "photos").mkdir()
    for seed in (1, 3):
        Image.fromarray(picture(90, 120, seed=seed)).save(folder / "photos" / f"{seed}.png")
    (folder / "photos" / "2.jpg").write_bytes(b"\xff\xd8 no more")
    (folder / "photos" / "notes.txt").write_text("not a picture")
    return folder


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_film(tmp_path / "film.avi", count=8)


def write_film(path: Path, *, count: int) -> Path:
    """A film of 96 x 64 pixels, 10 frames a second."""
    cv2 = pytest.importorskip("cv2")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (96, 64))
    for number in range(count):
        writer.write(picture(64, 96, seed=number))
    writer.release()
    return path


def read_film(path: Path) -> tuple[list[Any], float]:
    cv2 = pytest.importorskip("cv2")
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames, capture.get(cv2.CAP_PROP_FPS)


def command(work: Path, *words: object) -> list[str]:
    return [
        *(sys.executable, "webcam.py", "--config-file", str(work / "small.yaml")),
        *("--confidence-threshold", "0.1", *map(str, words)),
    ]


def run(work: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run it in `demo/`, as the old README says."""
    environment = {**os.environ, "MASKRCNN_TRACEBACK": ""}
    return subprocess.run(
        command(work, *words), cwd=DEMO, capture_output=True, text=True, env=environment
    )


# Whole runs


def test_a_folder_of_pictures(work: Path, tmp_path: Path) -> None:
    done = run(
        work, "--input", work / "photos", "--output", tmp_path / "found", "--min-image-size", 80
    )
    assert done.returncode == 0, done.stderr
    assert len(TIME.findall(done.stdout)) == 2
    assert f"2 pictures are in {tmp_path / 'found'}" in done.stdout
    assert "2.jpg' cannot be read" in done.stderr
    assert "1 of 3 pictures could not be read" in done.stderr
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == ["1.png", "3.png"]
    cfg = get_defaults()
    cfg.merge_from_file(work / "small.yaml")
    demo = predictor.COCODemo(cfg, confidence_threshold=0.1, min_image_size=80)
    for name in ("1.png", "3.png"):
        image = np.asarray(Image.open(work / "photos" / name))
        drawn = demo.run_on_opencv_image(image[..., ::-1])
        assert (drawn[..., ::-1] != image).any()
        np.testing.assert_array_equal(
            np.asarray(Image.open(tmp_path / "found" / name)), drawn[..., ::-1]
        )


def test_a_video(work: Path, film: Path, tmp_path: Path) -> None:
    output = tmp_path / "found.mp4"
    done = run(
        work, "--input", film, "--output", output, "--show-mask-heatmaps", "--masks-per-dim", 1
    )
    assert done.returncode == 0, done.stderr
    assert len(TIME.findall(done.stdout)) == 8
    frames, rate = read_film(output)
    assert [frame.shape for frame in frames] == [(64, 96, 3)] * 8
    assert rate == pytest.approx(10, abs=0.1)


def test_ctrl_c_keeps_what_was_done(work: Path, tmp_path: Path) -> None:
    film = write_film(tmp_path / "long.avi", count=3000)
    output = tmp_path / "found.mp4"
    with subprocess.Popen(
        command(work, "--input", film, "--output", output),
        cwd=DEMO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert TIME.match(process.stdout.readline())
        assert TIME.match(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    said = re.search(r"Interrupted\. (\d+) pictures are in", errors)
    assert said
    assert len(read_film(output)[0]) == int(said[1]) >= 2


@pytest.mark.parametrize("words", [("--input", "is-not-there.mp4"), ("--input", "91")])
def test_errors_come_without_a_traceback(work: Path, words: tuple[str, str]) -> None:
    if words[1] == "91":
        pytest.importorskip("cv2")
    done = run(work, *words, "--output", "found.mp4")
    assert done.returncode == 2
    assert "DatasetError: " in done.stderr
    assert "Traceback" not in done.stderr


def test_the_usual_config_is_found_from_demo_and_from_the_root() -> None:
    assert (DEMO / webcam.CONFIG).is_file()
    found = find_config(webcam.CONFIG.removeprefix("../"))
    assert found.resolve() == (DEMO / webcam.CONFIG).resolve()


def test_flags_have_their_old_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["webcam.py", "MODEL.DEVICE", "cpu"])
    args = webcam._parse_arguments()
    assert args.config_file == "../configs/caffe2/e2e_mask_rcnn_R_50_FPN_1x_caffe2.yaml"
    assert args.confidence_threshold == 0.7
    assert args.show_mask_heatmaps is False
    assert args.masks_per_dim == 2
    assert args.opts == ["MODEL.DEVICE", "cpu"]
    assert (args.min_image_size, args.input, args.output) == (None, "0", None)


# Sources


def test_a_video_that_is_cut_off(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = film.read_bytes()
    film.write_bytes(content[: int(len(content) * 0.75)])
    with webcam.open_source(str(film)) as source:
        frames = list(source.frames())
    assert 1 <= len(frames) < 8
    assert f"ended after {len(frames)} of 8 frames" in capsys.readouterr().err


def test_what_is_no_video(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    (tmp_path / "film.mp4").write_text("no film")
    with pytest.raises(DatasetError, match="cannot be opened: it is damaged, or no video"):
        webcam.open_source(str(tmp_path / "film.mp4"))


def test_no_camera() -> None:
    pytest.importorskip("cv2")
    with pytest.raises(DatasetError, match=r"camera 91 cannot be opened.*--input VIDEO or FOLDER"):
        webcam.open_source("91")


@pytest.mark.parametrize("source", ["0", "film"])
def test_without_opencv_the_extra_is_named(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "film.mp4").touch()
    monkeypatch.setitem(sys.modules, "cv2", None)
    name = source if source == "0" else str(tmp_path / "film.mp4")
    with pytest.raises(MissingExtraError, match=r"maskrcnn-benchmark\[demo\]"):
        webcam.open_source(name)


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DatasetError, match="has no pictures"):
        webcam.open_source(str(tmp_path))


def test_a_folder_of_damaged_pictures(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_text("no picture")
    source = webcam.open_source(str(tmp_path))
    with pytest.raises(DatasetError, match=r"b\.png' cannot be read"):
        list(source.frames())


def test_pictures_are_bgr_and_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (20, 10), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(tmp_path / "red.png", exif=exif)
    ((name, pixels),) = webcam.open_source(str(tmp_path / "red.png")).frames()
    assert name == "red.png"
    assert pixels.shape == (20, 10, 3)
    assert pixels[5, 5].tolist() == [0, 0, 255]


# Sinks


def frames(*sizes: tuple[int, int]) -> Iterator[Any]:
    for number, (height, width) in enumerate(sizes):
        yield webcam.Frame(f"{number}.png", picture(height, width, seed=number))


def open_sink(work: Path, output: Path | None) -> Any:
    return webcam.open_sink(
        None if output is None else str(output), webcam.open_source(str(work / "photos"))
    )


def test_pictures_of_other_sizes_are_fitted_into_the_video(work: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    with open_sink(work, tmp_path / "new" / "found.avi") as sink:
        for frame in frames((64, 96), (96, 96), (32, 48)):
            assert sink.show(frame)
    films, rate = read_film(tmp_path / "new" / "found.avi")
    assert rate == 1.0
    assert [each.shape for each in films] == [(64, 96, 3)] * 3
    assert films[1][:, :12].max() < 40  # black beside the square one
    assert films[2][0].max() > 60


def test_a_video_that_did_not_arrive(work: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    path = tmp_path / "found.avi"

    def write() -> None:
        with open_sink(work, path) as sink:
            for frame in frames((64, 96), (64, 96)):
                sink.show(frame)
            path.unlink()

    with pytest.raises(MaskRCNNError, match="only 0 of 2 pictures"):
        write()


def test_a_picture_that_cannot_be_written(work: Path, tmp_path: Path) -> None:
    folder = tmp_path / "found"
    with open_sink(work, folder) as sink:
        first, second = frames((20, 20), (20, 20))
        sink.show(first)
        (folder / "0.png").unlink()
        folder.rmdir()
        with pytest.raises(MaskRCNNError, match=r"1\.png' could not be written.*the 1 before"):
            sink.show(second)


def test_one_picture(work: Path, tmp_path: Path) -> None:
    source = webcam.open_source(str(work / "photos" / "1.png"))
    with webcam.open_sink(str(tmp_path / "found.jpg"), source) as sink:
        for frame in source.frames():
            sink.show(frame)
    with Image.open(tmp_path / "found.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (120, 90))


@pytest.mark.parametrize(
    ("name", "message"),
    [("found.jpg", "is one picture, but there are many"), ("found.gif", "expected a video")],
)
def test_outputs_that_do_not_suit(work: Path, tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_sink(work, tmp_path / name)


def test_a_file_where_the_folder_should_be(work: Path, tmp_path: Path) -> None:
    (tmp_path / "found").touch()
    with pytest.raises(ConfigError, match="cannot be made"):
        open_sink(work, tmp_path / "found" / "deeper")


@pytest.mark.skipif(sys.platform != "linux", reason="only there no variable means no screen")
def test_no_screen(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(ConfigError, match=r"no screen.*--output found\.mp4"):
        open_sink(work, None)


def test_an_opencv_without_windows(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cv2 = pytest.importorskip("cv2")
    if not re.search(r"GUI:\s+NONE", cv2.getBuildInformation()):
        pytest.skip("this OpenCV opens windows")
    monkeypatch.setenv("DISPLAY", ":0")
    with pytest.raises(ConfigError, match="pip install opencv-python"):
        open_sink(work, None)


def test_a_sink_that_has_enough_ends_it(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class First(webcam.Sink):  # type: ignore[misc, name-defined]
        def show(self, frame: Any) -> bool:
            self.count += 1
            return False

    cfg = get_defaults()
    cfg.merge_from_file(work / "small.yaml")
    sink = First()
    webcam._show_all(predictor.COCODemo(cfg), webcam.open_source(str(work / "photos")), sink)
    assert sink.count == 1
    assert len(TIME.findall(capsys.readouterr().out)) == 1


def test_what_is_read_is_not_replaced(work: Path) -> None:
    before = (work / "photos" / "1.png").read_bytes()
    for source, place in (("photos", "photos"), ("photos/1.png", "photos/1.png")):
        with (
            webcam.open_source(str(work / source)) as opened,
            pytest.raises(DatasetError, match=r"would replace '1\.png'"),
        ):
            webcam.open_sink(str(work / place), opened)
    done = run(work, "--input", work / "photos", "--output", work / "photos")
    assert done.returncode != 0
    assert "choose another output folder" in done.stderr
    assert (work / "photos" / "1.png").read_bytes() == before


def test_a_film_is_not_replaced(film: Path) -> None:
    before = film.read_bytes()
    with (
        webcam.open_source(str(film)) as opened,
        pytest.raises(DatasetError, match=r"would replace 'film\.avi'"),
    ):
        webcam.open_sink(str(film), opened)
    assert film.read_bytes() == before
