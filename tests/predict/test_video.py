from __future__ import annotations

import errno
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark.errors import ConfigError, DatasetError, MaskRCNNError, MissingExtraError
from maskrcnn_benchmark.predict import Predictor
from maskrcnn_benchmark.predict import video as video_module
from maskrcnn_benchmark.predict.video import VideoWriter, open_video, predict_video

from .conftest import MakeRun

pytest.importorskip("av")


def make_video(path: Path, *, frames: int = 12, size: tuple[int, int] = (64, 48)) -> Path:
    with VideoWriter(path) as writer:
        for number in range(frames):
            writer.write(Image.new("RGB", size, (20 * number, 100, 200)))
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", size=(65, 49))
    with open_video(path) as stream:
        frames = list(stream.frames())
        assert stream.num_frames == len(frames) == 12
        assert stream.rate == 25
        assert stream.remark == ""
    assert frames[0].size == (64, 48)
    red = [np.asarray(frame)[..., 0].mean() for frame in frames]
    np.testing.assert_allclose(red, np.arange(12) * 20, atol=8)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_every_frame_is_looked_at(make_run: MakeRun, tmp_path: Path, batch_size: int) -> None:
    source = make_video(tmp_path / "a.mp4")
    predictor = Predictor(make_run(), score_threshold=0.0, batch_size=batch_size)
    shown: list[str] = []
    report = predict_video(
        predictor,
        source,
        tmp_path / "out" / "a.mp4",
        category_ids=predictor.category_ids,
        show=lambda _, name: shown.append(name),
    )
    assert report.num_frames == len(shown) == 12
    content = json.loads(report.predictions.read_text())
    assert [image["id"] for image in content["images"]] == list(range(1, 13))
    assert content["images"][2]["file_name"] == f"{source}#3"
    assert len(content["annotations"]) == report.num_objects > 0
    with open_video(report.video) as stream:
        assert len(list(stream.frames())) == 12


def test_work_ends_when_it_is_told_to(make_run: MakeRun, tmp_path: Path) -> None:
    predictor = Predictor(make_run())
    source = make_video(tmp_path / "a.mp4")
    report = predict_video(predictor, source, tmp_path / "b.mp4", max_frames=3)
    assert report.num_frames == 3
    report = predict_video(predictor, source, tmp_path / "c.mp4", show=lambda *_: False)
    assert report.num_frames == 1


def test_an_interrupted_video_is_whole(make_run: MakeRun, tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4")
    shown: list[str] = []

    def interrupt(_: Image.Image, name: str) -> None:
        shown.append(name)
        if len(shown) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_video(Predictor(make_run()), source, tmp_path / "b.mp4", show=interrupt)
    with open_video(tmp_path / "b.mp4") as stream:
        assert len(list(stream.frames())) == 5
    assert len(json.loads((tmp_path / "b.json").read_text())["images"]) == 5


def test_ctrl_c_waits_for_the_frame(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes at the worst moment: the frame is in the video, but not yet among the results."""
    write = VideoWriter.write

    def interrupted(self: VideoWriter, picture: Image.Image) -> None:
        write(self, picture)
        os.kill(os.getpid(), signal.SIGINT)

    source = make_video(tmp_path / "a.mp4")
    monkeypatch.setattr(VideoWriter, "write", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"1 frames of .*a\.mp4 are in .*b\.mp4"):
        predict_video(Predictor(make_run()), source, tmp_path / "b.mp4")
    with open_video(tmp_path / "b.mp4") as stream:
        assert len(list(stream.frames())) == 1
    assert len(json.loads((tmp_path / "b.json").read_text())["images"]) == 1


def test_a_video_that_ends_mid_frame_is_read_as_far_as_it_goes(
    make_run: MakeRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "noise.avi"
    random = np.random.default_rng(0)
    with VideoWriter(source) as writer:
        for _ in range(12):
            writer.write(Image.fromarray(random.integers(0, 256, (48, 64, 3), dtype=np.uint8)))
    data = source.read_bytes()
    source.write_bytes(data[: len(data) * 6 // 10])
    with caplog.at_level("WARNING", logger="maskrcnn_benchmark"):
        report = predict_video(Predictor(make_run()), source, tmp_path / "b.mp4")
    assert 2 < report.num_frames < 12
    assert f"{source}' ends after {report.num_frames}" in report.remark
    assert report.remark in caplog.text
    assert len(json.loads(report.predictions.read_text())["images"]) == report.num_frames


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    text = tmp_path / "a.mp4"
    text.write_text("no video")
    half = make_video(tmp_path / "half.mp4")
    half.write_bytes(half.read_bytes()[:300])
    for path in (text, half):
        with pytest.raises(DatasetError, match=r"mp4' cannot be read as a video"), open_video(path):
            pass
    with pytest.raises(DatasetError, match="there is no video"), open_video(tmp_path / "no.mp4"):
        pass


@pytest.mark.skipif(Path("/dev/video99").exists(), reason="there is one")
def test_a_missing_webcam_is_named() -> None:
    with (
        pytest.raises(DatasetError, match=r"there is no webcam 99: .*Is it connected"),
        open_video(99),
    ):
        pass


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with (
        pytest.raises(MissingExtraError, match=r"maskrcnn-benchmark\[video\]"),
        open_video(tmp_path / "a.mp4"),
    ):
        pass


def test_a_video_is_not_replaced_by_its_own_results(make_run: MakeRun, tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4")
    before = source.read_bytes()
    with pytest.raises(DatasetError, match="choose another output folder"):
        predict_video(Predictor(make_run()), source, tmp_path / "x" / ".." / "a.mp4")
    assert source.read_bytes() == before


def test_a_video_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4")
    before = path.read_bytes()
    with VideoWriter(path) as writer:
        for _ in range(3):
            writer.write(Image.new("RGB", (64, 48)))
        # A process that is killed here leaves the old one, and a file that the next one removes.
        assert path.read_bytes() == before
        assert len(list(tmp_path.iterdir())) == 2
    assert path.read_bytes() != before
    assert list(tmp_path.iterdir()) == [path]
    with open_video(path) as stream:
        assert len(list(stream.frames())) == 3


def test_a_place_that_cannot_be_is_named(make_run: MakeRun, tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4")
    with pytest.raises(ConfigError, match=r"folder of the results '.*a\.mp4' cannot be made"):
        predict_video(Predictor(make_run()), source, source / "b.mp4")


@pytest.mark.parametrize("place", ["write", "close"])
def test_a_full_disk_is_said(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """While frames are written, and when the json is."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    source = make_video(tmp_path / "a.mp4")
    if place == "write":
        monkeypatch.setattr(VideoWriter, "write", full)
    else:
        monkeypatch.setattr(video_module, "write_coco", full)
    frames = 0 if place == "write" else 12
    with pytest.raises(
        MaskRCNNError, match=rf"the disk is full: .*{frames} frames of .* were done"
    ):
        predict_video(Predictor(make_run()), source, tmp_path / "b.mp4")
