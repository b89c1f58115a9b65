import contextlib
import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.predict import Predictor, predict_folder
from maskrcnn_benchmark.predict.folder import find_images, name_pictures
from maskrcnn_benchmark.results.detections import Detections
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


def test_inputs_are_files_and_folders_each_once(images: Path) -> None:
    odd = images / "photo.xyz"
    Image.new("RGB", (4, 4)).save(odd, format="PNG")
    found = find_images([images / "b.png", odd, images, str(images / "a.jpg")])
    assert [path.name for path in found] == ["b.png", "photo.xyz", "a.jpg", "c.PNG"]


def test_nothing_to_do_is_an_error(images: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no file or folder"):
        find_images([images, tmp_path / "absent"])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DatasetError, match=r"no image in '.*empty'"):
        find_images([empty])
    with pytest.raises(DatasetError, match="no image in nothing"):
        find_images([])


def test_pictures_of_one_name_are_numbered() -> None:
    files = [Path("x/a.png"), Path("x/a.jpg"), Path("y/A.png"), Path("y/b.png")]
    assert list(name_pictures(files).values()) == ["a.jpg", "a_2.jpg", "A_3.jpg", "b.jpg"]


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
