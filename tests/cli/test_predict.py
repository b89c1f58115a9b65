"""`maskrcnn predict` on pictures, folders, patterns, videos and what is none of these."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from maskrcnn_benchmark.build.config_files import find_config
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.cli import app
from maskrcnn_benchmark.config import get_defaults


def run(*words: str | Path) -> Result:
    result = CliRunner().invoke(app, ["predict", *map(str, words)])
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with random weights."""
    folder = tmp_path_factory.mktemp("runs") / "toy"
    folder.mkdir()
    cfg = get_defaults()
    cfg.merge_from_file(find_config("quickstart/mask_rcnn_toy"))
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", "INPUT.MIN_SIZE_TEST", 48])
    (folder / "config.yml").write_text(cfg.dump())
    torch.manual_seed(0)
    torch.save({"model": build_model(cfg).state_dict()}, folder / "model_final.pth")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "summer").mkdir(parents=True)
    for name in ("a.png", "b.jpg", "summer/a.png"):
        Image.new("RGB", (64, 48), (90, 120, 90)).save(folder / name)
    return folder


def test_a_folder_with_folders_then_again(model: Path, photos: Path) -> None:
    output = photos / "found"  # In the folder itself: its pictures are not taken for photos.
    words = (model, photos, "-o", output, "--threshold", "0")
    result = run(*words, "--format", "yolo", "--format", "png")
    assert result.exit_code == 0
    assert "in 3 pictures" in result.output
    for name in ("a.jpg", "b.jpg", "summer/a.jpg", "labels/summer/a.txt", "instances/a.png"):
        assert (output / name).is_file()
    again = run(*words, "--format", "yolo", "--format", "png")
    assert "Known from before: 3" in again.output
    assert "in 3 pictures" in again.output
    restarted = run(*words, "--format", "yolo", "--format", "png", "--restart")
    assert "Known from before" not in restarted.output
    content = json.loads((output / "predictions.json").read_text())
    assert len(content["images"]) == 3


def test_an_unreadable_file_is_reported_and_the_exit_code_says_so(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    (photos / "aa.png").write_bytes(b"no picture")
    result = run(model, f"{photos}/*.png", "-o", tmp_path / "out", "--no-pictures")
    assert result.exit_code == 1
    assert "in 1 pictures" in result.output
    assert "1 files could not be read" in result.stderr
    assert "aa.png' cannot be read" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["predictions.json"]


def test_tiles_batches_and_lower_precision(model: Path, photos: Path, tmp_path: Path) -> None:
    words = ("--tile", "32", "--batch-size", "2", "--dtype", "bfloat16", "--threshold", "0")
    result = run(model, photos / "a.png", "-o", tmp_path / "out", *words)
    assert result.exit_code == 0
    augmented = run(model, photos / "a.png", "-o", tmp_path / "out", "--test-time-aug")
    assert augmented.exit_code == 0


def test_a_video_and_a_missing_webcam(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    from maskrcnn_benchmark.predict.video import VideoWriter

    source = tmp_path / "clip.mp4"
    with VideoWriter(source) as writer:
        for _ in range(3):
            writer.write(Image.new("RGB", (64, 48)))
    output = tmp_path / "out"
    result = run(model, source, "99", "-o", output)
    assert "in 3 frames" in result.output
    assert (output / "clip.mp4").is_file()
    assert len(json.loads((output / "clip.json").read_text())["images"]) == 3
    assert "there is no webcam 99" in result.stderr
    assert result.exit_code == 1


def test_what_does_not_go_together_is_refused(model: Path, photos: Path) -> None:
    result = run(model, photos, "--compile", "--test-time-aug")
    assert result.exit_code == 2
    assert "do not go together" in result.stderr
    absent = run(model, photos / "absent.jpg")
    assert absent.exit_code != 0
    assert "there is no file or folder" in absent.stderr


def test_videos_and_their_results_do_not_meet(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    from maskrcnn_benchmark.predict.video import VideoWriter

    # The result of the first would be the second.
    sources = [tmp_path / "clip.avi", tmp_path / "clip.mp4", tmp_path / "predictions.mp4"]
    for source in sources:
        with VideoWriter(source) as writer:
            writer.write(Image.new("RGB", (64, 48)))
    before = [source.read_bytes() for source in sources]
    for words in (sources[:2], sources[1:2]):
        result = run(model, *words, "-o", tmp_path)
        assert result.exit_code == 2
        assert "choose another output folder" in result.stderr
    assert [source.read_bytes() for source in sources] == before
    photo = tmp_path / "photo.png"
    Image.new("RGB", (64, 48)).save(photo)
    output = tmp_path / "out"
    result = run(model, photo, sources[2], "-o", output)
    assert result.exit_code == 0
    (image,) = json.loads((output / "predictions.json").read_text())["images"]
    assert image["file_name"] == str(photo)
    assert (output / "predictions_2.mp4").is_file()
