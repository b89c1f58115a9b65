from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from maskrcnn_benchmark.data.datasets.coco import COCODataset
from maskrcnn_benchmark.data.toy import ToyDataset, write_toy_dataset
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.report.result_pictures import (
    read_results,
    tile_pictures,
    write_comparisons,
)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ToyDataset:
    return write_toy_dataset(tmp_path_factory.mktemp("toy"), num_train=1, num_val=4)


@pytest.fixture
def dataset(toy: ToyDataset) -> COCODataset:
    return COCODataset(toy.val.json_path, toy.val.image_folder, False)


def write_perfect_results(dataset: COCODataset, folder: Path, *, score: float = 0.9) -> int:
    """Result files that repeat the ground truth; how many objects there are."""
    boxes: list[dict[str, Any]] = []
    masks: list[dict[str, Any]] = []
    for entry in dataset.coco.anns.values():
        if not entry["iscrowd"]:
            shared = {"image_id": entry["image_id"], "category_id": entry["category_id"]}
            boxes.append({**shared, "bbox": entry["bbox"], "score": score})
            rle = dataset.coco.annToRLE(entry)
            rle["counts"] = rle["counts"].decode() if isinstance(rle["counts"], bytes) else ""
            masks.append({**shared, "segmentation": rle, "score": score})
    (folder / "bbox.json").write_text(json.dumps(boxes))
    (folder / "segm.json").write_text(json.dumps(masks))
    return len(boxes)


def test_boxes_and_masks_are_put_together(dataset: COCODataset, tmp_path: Path) -> None:
    total = write_perfect_results(dataset, tmp_path)
    results = read_results(tmp_path)
    assert sum(map(len, results.values())) == total
    for image_id, entries in results.items():
        for entry in entries:
            assert entry["image_id"] == image_id
            assert {"bbox", "segmentation", "score", "category_id"} <= entry.keys()


def test_boxes_alone_are_enough(dataset: COCODataset, tmp_path: Path) -> None:
    write_perfect_results(dataset, tmp_path)
    (tmp_path / "segm.json").unlink()
    entries = [entry for found in read_results(tmp_path).values() for entry in found]
    assert all("segmentation" not in entry for entry in entries)


def test_keypoints_are_put_beside_their_boxes(dataset: COCODataset, tmp_path: Path) -> None:
    total = write_perfect_results(dataset, tmp_path)
    boxes = json.loads((tmp_path / "bbox.json").read_text())
    for number, entry in enumerate(boxes):
        del entry["bbox"]
        entry["keypoints"] = [number, 2, 1] * 17
    (tmp_path / "keypoints.json").write_text(json.dumps(boxes))
    entries = [entry for found in read_results(tmp_path).values() for entry in found]
    assert sorted(entry["keypoints"][0] for entry in entries) == list(range(total))
    assert all({"bbox", "segmentation"} <= entry.keys() for entry in entries)
    (tmp_path / "keypoints.json").write_text(json.dumps(boxes[1:]))
    with pytest.raises(DatasetError, match=f"{total} boxes, {total - 1} keypoints"):
        read_results(tmp_path)


def test_missing_or_mixed_results_are_an_error(dataset: COCODataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no bbox\.json"):
        read_results(tmp_path)
    total = write_perfect_results(dataset, tmp_path)
    masks = json.loads((tmp_path / "segm.json").read_text())
    (tmp_path / "segm.json").write_text(json.dumps(masks[1:]))
    with pytest.raises(DatasetError, match=f"{total} boxes, {total - 1} masks"):
        read_results(tmp_path)


def test_pictures_show_what_was_found(dataset: COCODataset, tmp_path: Path) -> None:
    write_perfect_results(dataset, tmp_path)
    surely = write_comparisons(dataset, tmp_path, tmp_path / "surely", count=3)
    doubted = write_comparisons(dataset, tmp_path, tmp_path / "doubted", count=99, min_score=0.95)
    assert [path.name for path in surely] == ["000001.png", "000002.png", "000003.png"]
    assert len(doubted) == len(dataset) == 4
    for path in surely:
        with Image.open(path) as picture:
            assert min(picture.size) >= 320
            assert picture.width > picture.height
    with_objects = [index for index in range(3) if len(dataset[index][1])]
    assert with_objects
    for index in with_objects:
        assert surely[index].read_bytes() != doubted[index].read_bytes()


def test_tiles_are_set_in_rows_without_overlap() -> None:
    colors = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    pictures = [
        Image.new("RGB", size, color)
        for size, color in zip([(100, 50), (50, 100), (100, 100)], colors, strict=True)
    ]
    sheet = tile_pictures(pictures, columns=2, max_width=1000)
    # All 100 wide with gaps of 5; rows as high as their highest picture.
    assert sheet.size == (215, 5 + 200 + 5 + 100 + 5)
    assert sheet.getpixel((50, 30)) == colors[0]
    assert sheet.getpixel((50, 100)) == (255, 255, 255)
    assert sheet.getpixel((160, 200)) == colors[1]
    assert sheet.getpixel((50, 260)) == colors[2]


def test_tiles_are_shrunk_to_the_width_of_the_sheet() -> None:
    pictures = [Image.new("RGB", (900, 300))] * 3
    sheet = tile_pictures(pictures, columns=3, max_width=600)
    assert sheet.width <= 600
    assert tile_pictures(pictures[:1], columns=3, max_width=600).width <= 210
