import contextlib
import errno
import io
import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from maskrcnn_benchmark.errors import ConfigError, DatasetError, MaskRCNNError
from maskrcnn_benchmark.predict import Predictor, predict_folder
from maskrcnn_benchmark.predict import folder as folder_module
from maskrcnn_benchmark.predict.journal import Journal
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.instance_png import read_png
from maskrcnn_benchmark.results.writers import read_csv
from maskrcnn_benchmark.structures.sizes import HeightWidth

from .conftest import MakeRun


def find_center(image: Any) -> Detections:
    """Finds one object in the middle of every image."""
    width, height = image.size
    return Detections(
        image_size=HeightWidth(height, width),
        boxes=np.array([[width / 4, height / 4, width * 3 / 4, height * 3 / 4]]),
        scores=np.array([0.75]),
        labels=np.array([1]),
        class_names=("__background__", "thing"),
    )


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, color in (("b.png", 50), ("a.jpg", 90), ("c.PNG", 120)):
        Image.new("RGB", (80, 60), (color, color, color)).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


def test_every_image_gets_a_picture_and_a_place_in_the_json(images: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "output"
    report = predict_folder(find_center, [images], output, category_ids={1: 44})
    assert [path.name for path in report.pictures] == ["a.jpg", "b.png", "c.PNG"]
    assert report.num_objects == 3
    assert not report.skipped
    assert sorted(path.name for path in output.iterdir()) == [
        "a.jpg",
        "b.jpg",
        "c.jpg",
        "predictions.json",
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(report.predictions))
    assert [image["file_name"] for image in coco.imgs.values()] == [
        str(images / name) for name in ("a.jpg", "b.png", "c.PNG")
    ]
    assert {annotation["category_id"] for annotation in coco.anns.values()} == {44}
    with Image.open(output / "b.jpg") as picture:
        assert picture.size == (80, 60)
        assert np.asarray(picture).std() > 1


def test_unreadable_files_are_skipped_and_counted(
    images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (images / "b.png").write_bytes(b"not an image")
    with caplog.at_level(logging.WARNING, logger="maskrcnn_benchmark"):
        report = predict_folder(find_center, [images], tmp_path / "out")
    assert list(report.skipped) == [images / "b.png"]
    assert "b.png' cannot be read" in report.skipped[images / "b.png"]
    assert "1 of 3 files could not be read" in caplog.text
    assert len(json.loads(report.predictions.read_text())["images"]) == 2


def test_what_was_done_is_kept_when_the_work_is_interrupted(images: Path, tmp_path: Path) -> None:
    calls = []

    def interrupted(image: Any) -> Detections:
        calls.append(image)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return find_center(image)

    with pytest.raises(KeyboardInterrupt):
        predict_folder(interrupted, [images], tmp_path / "out")
    content = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert len(content["images"]) == len(content["annotations"]) == 2


def test_ctrl_c_waits_for_the_image(images: Path, tmp_path: Path) -> None:
    def interrupt(_: Image.Image, name: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    output = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt, match=r"results of 1 images are in .*goes on there"):
        predict_folder(find_center, [images], output, show=interrupt)
    assert sorted(path.name for path in output.iterdir()) == ["a.jpg", "predictions.json"]
    assert len(json.loads((output / "predictions.json").read_text())["images"]) == 1


def test_images_are_never_replaced_by_pictures(images: Path) -> None:
    before = (images / "a.jpg").read_bytes()
    with pytest.raises(DatasetError, match="choose another output folder"):
        predict_folder(find_center, [images], images)
    assert (images / "a.jpg").read_bytes() == before


def test_a_predictor_does_the_work(images: Path, tmp_path: Path, make_run: MakeRun) -> None:
    predictor = Predictor(make_run(), score_threshold=0.0)
    report = predict_folder(
        predictor, [images], tmp_path / "out", category_ids=predictor.category_ids
    )
    content = json.loads(report.predictions.read_text())
    assert content["categories"] == [{"id": 7, "name": "square"}, {"id": 3, "name": "circle"}]
    assert len(content["annotations"]) == report.num_objects > 0


def test_a_second_call_goes_on_where_the_first_stopped(
    images: Path, tmp_path: Path, make_run: MakeRun
) -> None:
    run, output = make_run(), tmp_path / "out"
    predictor = Predictor(run, score_threshold=0.0)
    first = predict_folder(predictor, [images / "a.jpg", images / "b.png"], output)
    assert (first.num_earlier, len(first.pictures)) == (0, 2)
    before = (output / "a.jpg").stat().st_mtime_ns
    second = predict_folder(predictor, [images], output)
    assert (second.num_earlier, len(second.pictures)) == (2, 3)
    assert (output / "a.jpg").stat().st_mtime_ns == before
    content = json.loads(second.predictions.read_text())
    assert [Path(each["file_name"]).name for each in content["images"]] == [
        "a.jpg",
        "b.png",
        "c.PNG",
    ]
    assert len({each["id"] for each in content["annotations"]}) == len(content["annotations"])
    assert second.num_objects == len(content["annotations"]) > first.num_objects
    # Everything as in one go.
    whole = predict_folder(predictor, [images], tmp_path / "whole")
    assert json.loads(whole.predictions.read_text()) == content
    # A picture that is gone and an image that is new are looked at again; other settings begin anew.
    (output / "b.jpg").unlink()
    Image.new("RGB", (70, 60)).save(images / "c.PNG")
    third = predict_folder(predictor, [images], output)
    assert third.num_earlier == 1
    other = Predictor(run, score_threshold=0.1)
    assert predict_folder(other, [images], output).num_earlier == 0
    assert predict_folder(other, [images], output, resume=False).num_earlier == 0
    assert predict_folder(other, [images], output).num_earlier == 3


def test_a_killed_process_has_its_lines(images: Path, tmp_path: Path, make_run: MakeRun) -> None:
    predictor = Predictor(make_run(), score_threshold=0.0)
    expected = predict_folder(predictor, [images], tmp_path / "whole")
    output = tmp_path / "out"
    output.mkdir()
    journal = Journal(output, settings={**predictor.settings, "formats": ["coco"]})
    for number, name in enumerate(("a.jpg", "b.png"), start=1):
        journal.add(images / name, predictor(images / name), image_id=number)
        Image.new("RGB", (2, 2)).save(output / f"{name[0]}.jpg")
    assert journal._file is not None
    journal._file.close()  # Killed: nothing is brought to an end, and the last line is a half one.
    with (output / "predictions.jsonl").open("a") as file:
        file.write('{"image": {"id": 3, ')
    report = predict_folder(predictor, [images], output)
    assert report.num_earlier == 2
    assert json.loads(report.predictions.read_text()) == json.loads(
        expected.predictions.read_text()
    )
    assert not (output / "predictions.jsonl").exists()


def test_batches_write_the_same(images: Path, tmp_path: Path, make_run: MakeRun) -> None:
    Image.new("RGB", (60, 80)).save(images / "d.png")
    (images / "aa.png").write_bytes(b"not an image")
    run = make_run()
    reports = [
        predict_folder(
            Predictor(run, score_threshold=0.0, batch_size=size), [images], tmp_path / str(size)
        )
        for size in (1, 3)
    ]
    one, three = (json.loads(report.predictions.read_text()) for report in reports)
    assert [each["id"] for each in one["images"]] == [1, 3, 4, 5]
    assert one["images"] == three["images"]
    assert len(one["annotations"]) == len(three["annotations"])
    assert list(reports[1].skipped) == [images / "aa.png"]


def test_every_format_is_written(images: Path, tmp_path: Path, make_run: MakeRun) -> None:
    (images / "sub").mkdir()
    Image.new("RGB", (80, 60)).save(images / "sub" / "a.png")
    predictor = Predictor(make_run(), score_threshold=0.0)
    output = tmp_path / "out"
    report = predict_folder(
        predictor,
        [images],
        output,
        formats=["labelme", "yolo", "csv", "png"],
        recursive=True,
        with_pictures=False,
    )
    assert not report.pictures
    found = predictor(images / "sub" / "a.png")
    again = read_png(output / "instances" / "sub" / "a.png")
    assert again.labels.tolist() == found.labels.tolist()
    labelme = json.loads((output / "labelme" / "sub" / "a.json").read_text())
    assert Path(labelme["imagePath"]) == images / "sub" / "a.png"
    assert (output / "labels" / "classes.txt").read_text() == "square\ncircle"
    lines = (output / "labels" / "sub" / "a.txt").read_text().splitlines()
    assert len(lines) <= len(found)
    tables = read_csv(output / "predictions.csv", predictor.class_names)
    assert sum(map(len, tables)) == report.num_objects
    own = next(each for each in tables if each.path == str(images / "sub" / "a.png"))
    np.testing.assert_allclose(own.boxes, found.boxes, atol=1e-4)


def test_a_full_disk_is_said_and_the_rest_goes_on_later(
    images: Path, tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(make_run(), score_threshold=0.0)
    writes: list[Path] = []
    write_picture = folder_module._write_picture

    def full(path: Path, picture: Image.Image) -> None:
        writes.append(path)
        if len(writes) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write_picture(path, picture)

    monkeypatch.setattr(folder_module, "_write_picture", full)
    with pytest.raises(MaskRCNNError, match=r"the disk is full: .*results of 1 images are kept"):
        predict_folder(predictor, [images], tmp_path / "out")
    assert predict_folder(predictor, [images], tmp_path / "out").num_earlier == 1


def test_a_mistyped_format_is_named(images: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="expected some of coco, labelme, yolo, csv, png, got voc"
    ):
        predict_folder(find_center, [images], tmp_path / "out", formats=["voc"])


def test_pictures_are_shown(images: Path, tmp_path: Path) -> None:
    shown: list[str] = []
    predict_folder(
        find_center, [images], tmp_path / "out", show=lambda _, name: shown.append(Path(name).name)
    )
    assert shown == ["a.jpg", "b.png", "c.PNG"]


def test_results_of_one_name_stay_apart_over_calls(
    images: Path, tmp_path: Path, make_run: MakeRun
) -> None:
    other, output = tmp_path / "other", tmp_path / "out"
    other.mkdir()
    Image.new("RGB", (60, 80)).save(other / "a.jpg")
    predictor = Predictor(make_run(), score_threshold=0.0)
    predict_folder(predictor, [images / "a.jpg"], output)
    before = (output / "a.jpg").read_bytes()
    second = predict_folder(predictor, [other], output)
    assert second.pictures == {other / "a.jpg": output / "a_2.jpg"}
    assert (output / "a.jpg").read_bytes() == before
    # Whatever the order in which they are named.
    third = predict_folder(predictor, [other / "a.jpg", images / "a.jpg"], output)
    assert third.num_earlier == 2
    assert third.pictures == {
        other / "a.jpg": output / "a_2.jpg",
        images / "a.jpg": output / "a.jpg",
    }
    with Image.open(output / "a_2.jpg") as picture:
        assert picture.size == (60, 80)


def test_other_categories_begin_anew(images: Path, tmp_path: Path, make_run: MakeRun) -> None:
    predictor = Predictor(make_run(), score_threshold=0.0)
    predict_folder(predictor, [images / "a.jpg"], tmp_path / "out")
    report = predict_folder(
        predictor, [images], tmp_path / "out", category_ids=predictor.category_ids
    )
    assert report.num_earlier == 0
    content = json.loads(report.predictions.read_text())
    known = {each["id"] for each in content["categories"]}
    assert {each["category_id"] for each in content["annotations"]} <= known == {7, 3}


def test_a_killed_process_of_other_settings_leaves_no_results_behind(
    images: Path, tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, output = make_run(), tmp_path / "out"
    predictor = Predictor(run, score_threshold=0.0)
    predict_folder(predictor, [images], output)
    before = (output / "a.jpg").read_bytes()
    with monkeypatch.context() as patch:
        # Killed with the first picture written: nothing after it happens.
        patch.setattr(Journal, "add", _die)
        patch.setattr(Journal, "close", _abandon)
        with pytest.raises(_KilledError):
            predict_folder(Predictor(run, score_threshold=1.0), [images], output)
    assert (output / "a.jpg").read_bytes() != before
    assert predict_folder(predictor, [images], output).num_earlier == 0
    assert (output / "a.jpg").read_bytes() == before


class _KilledError(Exception):
    pass


def _abandon(journal: Journal) -> None:
    assert journal._file is not None
    journal._file.close()


def _die(*_: object, **__: object) -> None:
    raise _KilledError


def test_a_failing_disk_is_said(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, picture: Image.Image) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(folder_module, "_write_picture", fail)
    with pytest.raises(MaskRCNNError, match=r"cannot go on: .*Read-only .*results of 0 images"):
        predict_folder(find_center, [images], tmp_path / "out")
    with pytest.raises(ConfigError, match=r"folder of the results '.*a\.jpg' cannot be made"):
        predict_folder(find_center, [images], images / "a.jpg")


def test_only_what_is_written_can_replace(images: Path) -> None:
    report = predict_folder(find_center, [images], images, with_pictures=False)
    assert report.num_objects == 3
    own = images / "instances" / "a.png"
    own.parent.mkdir()
    Image.new("RGB", (8, 8)).save(own)
    with pytest.raises(DatasetError, match="choose another output folder"):
        predict_folder(find_center, [own], images, with_pictures=False, formats=["png"])


def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    source = tmp_path / os.fsdecode(b"caf\xe9.png")
    try:
        Image.new("RGB", (80, 60)).save(source)
    except OSError:
        pytest.skip("this file system takes Unicode only")
    output = tmp_path / "out"
    predict_folder(find_center, [source], output, formats=["csv", "labelme"])
    (found,) = read_csv(output / "predictions.csv", ("__background__", "thing"))
    assert found.path == str(source)
    assert Path(found.path).is_file()
