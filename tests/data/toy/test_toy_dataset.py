from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from maskrcnn_benchmark.data.toy import CLASS_NAMES, write_toy_dataset
from maskrcnn_benchmark.errors import DatasetError


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_set_is_a_function_of_the_seed(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_toy_dataset(tmp_path / name, seed=seed, num_train=4, num_val=2)
    first, again, other = (files_below(tmp_path / name) for name in "abc")
    assert first == again
    assert len(first) == 8
    assert not set(first.values()) & set(other.values())


def test_train_and_val_share_no_picture_and_a_longer_set_begins_alike(tmp_path: Path) -> None:
    short = write_toy_dataset(tmp_path / "short", num_train=3, num_val=3)
    long = write_toy_dataset(tmp_path / "long", num_train=5, num_val=4)
    train, val = (files_below(split.image_folder) for split in (short.train, short.val))
    assert not set(train.values()) & set(val.values())
    assert train.items() <= files_below(long.train.image_folder).items()


def test_pycocotools_reads_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy = write_toy_dataset(tmp_path, num_train=12, num_val=1)
    coco = COCO(str(toy.train.json_path))
    capsys.readouterr()
    assert [entry["name"] for entry in coco.loadCats(coco.getCatIds())] == list(CLASS_NAMES)
    assert len(coco.imgs) == toy.train.num_images == 12
    assert len({entry["id"] for entry in coco.anns.values()}) == len(coco.dataset["annotations"])
    for image in coco.imgs.values():
        with Image.open(toy.train.image_folder / image["file_name"]) as opened:
            assert opened.size == (image["width"], image["height"])
            assert opened.mode == "RGB"
    for entry in coco.anns.values():
        assert coco.annToMask(entry).sum() == entry["area"] > 0


def test_a_set_that_is_there_is_kept_and_another_one_replaces_it(tmp_path: Path) -> None:
    toy = write_toy_dataset(tmp_path, num_train=2, num_val=1)
    picture = toy.train.image_folder / "000001.jpg"
    drawn, marked = picture.read_bytes(), picture.read_bytes() + b"marked"
    picture.write_bytes(marked)
    write_toy_dataset(tmp_path, num_train=2, num_val=1)
    assert picture.read_bytes() == marked
    write_toy_dataset(tmp_path, num_train=3, num_val=1)
    assert picture.read_bytes() == drawn
    (toy.train.image_folder / "000002.jpg").unlink()
    write_toy_dataset(tmp_path, num_train=3, num_val=1)
    assert (toy.train.image_folder / "000002.jpg").exists()
    write_toy_dataset(tmp_path, num_train=3, num_val=1, seed=1)
    assert picture.read_bytes() != drawn


@pytest.mark.parametrize("content", ["{", "[]", '{"info": {}, "images": []}'])
def test_somebody_elses_annotations_are_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "annotations" / "instances_val.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(DatasetError, match=r"instances_val\.json exists and is not a toy set"):
        write_toy_dataset(tmp_path, num_train=1, num_val=1)
    assert path.read_text() == content
    assert list(tmp_path.rglob("*.jpg")) == []


def test_images_are_stored_with_little_loss(tmp_path: Path) -> None:
    from maskrcnn_benchmark.data.toy.scene import draw_scene

    toy = write_toy_dataset(tmp_path, seed=5, num_train=1, num_val=1)
    with Image.open(toy.val.image_folder / "000001.jpg") as opened:
        stored = np.asarray(opened, dtype=float)
    drawn = draw_scene(np.random.default_rng([5, 1, 1])).image
    assert np.abs(stored - drawn).mean() < 4
    assert json.loads(toy.val.json_path.read_text())["info"]["seed"] == 5
