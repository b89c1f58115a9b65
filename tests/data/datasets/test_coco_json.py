"""Every kind of bad annotation file: the message names the place, and skipping counts it."""

import json
import logging

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from maskrcnn_benchmark.data.datasets.coco_json import load_coco_json
from maskrcnn_benchmark.errors import DatasetError


def load(folder, **options):
    return load_coco_json(folder.write(), image_folder=folder.root, **options)


def test_a_good_file(coco_folder, caplog):
    loaded = load(coco_folder)
    assert list(loaded.images) == [20, 10, 30]
    assert [a["id"] for a in loaded.by_image[20]] == [1, 2, 3]
    assert loaded.by_image[30] == []
    assert loaded.counts == {}
    assert loaded.content == coco_folder.content
    assert caplog.records == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [', "not valid JSON: .*line 1 column 13.*cut off"),
        ("\x89PNG", "not valid JSON"),
        ("[]", "not COCO object annotations: .*got a list at the top level"),
        ('{"images": [], "annotations": []}', "no list 'categories' among annotations, images"),
        ('{"categories": [], "annotations": {}}', "no list 'images'"),
        ('{"images": [], "categories": [], "annotations": {}}', "no list 'annotations'"),
        ('{"images": [], "categories": [], "annotations": []}', "at least one entry in 'cat"),
        (
            '{"images": [], "categories": [{"id": 1, "name": "a"}], "annotations": []}',
            "at least one entry in 'images', got none",
        ),
    ],
)
@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_files_that_are_not_coco(tmp_path, text, message, on_error):
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(DatasetError, match=message) as caught:
        load_coco_json(path, on_error=on_error)
    assert "bad.json" in str(caught.value)


def test_no_such_file(tmp_path):
    with pytest.raises(DatasetError, match=r"missing\.json' cannot be read: No such file"):
        load_coco_json(tmp_path / "missing.json")


def test_a_byte_order_mark_does_no_harm(coco_folder):
    coco_folder.ann_file.write_text(json.dumps(coco_folder.content), encoding="utf-8-sig")
    assert len(load_coco_json(coco_folder.ann_file).images) == 3


def test_files_for_test_servers_have_no_annotations(coco_folder):
    del coco_folder.content["annotations"]
    assert load(coco_folder).by_image == {20: [], 10: [], 30: []}


def encoded_square(height=48, width=64):
    mask = np.zeros((height, width), dtype=np.uint8, order="F")
    mask[5:30, 7:40] = 1
    return coco_mask.encode(mask)["counts"].decode()


# (change of annotation 2, its message, kind of mistake)
BAD_ANNOTATIONS = {
    "outside": ({"bbox": [70, 10, 5, 5]}, "outside the image of 64 x 48", "box outside the image"),
    "above": ({"bbox": [5, -30, 5, 5]}, "outside the image of 64 x 48", "box outside the image"),
    "no width": ({"bbox": [5, 5, 0, 9]}, r"\[5, 5, 0, 9\] has no extent", "box of zero size"),
    "no size": ({"bbox": [5, 5, 0, 0]}, r"\[5, 5, 0, 0\] has no extent", "box of zero size"),
    "negative": ({"bbox": [5, 5, 9, -1]}, "has no extent", "box of zero size"),
    "three numbers": ({"bbox": [5, 5, 9]}, r"four numbers.*got \[5, 5, 9\]", "malformed box"),
    "text": ({"bbox": "5 5 9 9"}, "four numbers.*got '5 5 9 9'", "malformed box"),
    "not a number": ({"bbox": [5, 5, 9, float("nan")]}, "got .*nan", "malformed box"),
    "no box": ({"bbox": None}, "four numbers.*got None", "malformed box"),
    "two points": (
        {"segmentation": [[30, 10, 40, 10, 40, 20], [31, 11, 32, 12]]},
        r"polygon 1 has 2 points, at least 3.*\[31, 11, 32, 12\]",
        "polygon of fewer than 3 points",
    ),
    "no points": ({"segmentation": [[]]}, "0 points", "polygon of fewer than 3 points"),
    "odd": ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "flat list", "malformed segmentation"),
    "nested": ({"segmentation": [[[1, 2], [3, 4]]]}, "flat list", "malformed segmentation"),
    "not finite": (
        {"segmentation": [[1, 2, 3, 4, 5, float("inf")]]},
        "flat list",
        "malformed segmentation",
    ),
    "flat": ({"segmentation": [1, 2, 3, 4, 5, 6]}, "flat list", "malformed segmentation"),
    "a path": ({"segmentation": "m.png"}, "list of polygons or", "malformed segmentation"),
    "other run size": (
        {"segmentation": {"size": [64, 48], "counts": [64 * 48]}},
        r"image's size \[48, 64\] .*got \[64, 48\]",
        "run-length code of another size",
    ),
    "short runs": (
        {"segmentation": {"size": [48, 64], "counts": [5, 5]}},
        "sum up to 3072",
        "malformed segmentation",
    ),
    "negative run": (
        {"segmentation": {"size": [48, 64], "counts": [-8, 3080]}},
        r"whole numbers from 0.*got \[-8, 3080\]",
        "malformed segmentation",
    ),
    "half a pixel": (
        {"segmentation": {"size": [48, 64], "counts": [0.5, 3071.5]}},
        r"whole numbers from 0.*got \[0.5, 3071.5\]",
        "malformed segmentation",
    ),
    "no text": (
        {"segmentation": {"size": [48, 64], "counts": ""}},
        "sum up to 3072 pixels, got ''",
        "malformed segmentation",
    ),
    "text cut off": (
        {"segmentation": {"size": [48, 64], "counts": encoded_square()[:-1]}},
        "sum up to 3072",
        "malformed segmentation",
    ),
    "text of other characters": (
        {"segmentation": {"size": [48, 64], "counts": "zzzz~~~~"}},
        "sum up to 3072 pixels, got 'zzzz~~~~'",
        "malformed segmentation",
    ),
    "text of a smaller image": (
        {"segmentation": {"size": [48, 64], "counts": encoded_square(height=40)}},
        "sum up to 3072",
        "malformed segmentation",
    ),
    "undeclared category": (
        {"category_id": 8},
        r"category_id 8 is not among the file's categories \(7, 3\)",
        "undeclared category",
    ),
    "unknown image": ({"image_id": 99}, "image_id 99 is not among", "unknown image"),
    "no image": ({"image_id": None}, "image_id None is not among", "unknown image"),
    "crowd": ({"iscrowd": 2}, "iscrowd must be 0 or 1, got 2", "malformed annotation"),
    "duplicate": ({"id": 1}, "annotation 1: this id is used more", "duplicate annotation id"),
    "no id": ({"id": None}, "entry 1 of 'annotations'", "malformed annotation"),
}


@pytest.mark.parametrize("case", BAD_ANNOTATIONS)
def test_a_bad_annotation_stops(coco_folder, case):
    change, message, _ = BAD_ANNOTATIONS[case]
    coco_folder.annotation(2).update(change)
    with pytest.raises(DatasetError, match=message) as caught:
        load(coco_folder)
    assert str(coco_folder.ann_file) in str(caught.value)
    assert "ON_ERROR" in str(caught.value)
    if "id" not in change:
        assert "annotation 2" in str(caught.value)


@pytest.mark.parametrize("case", BAD_ANNOTATIONS)
def test_a_bad_annotation_is_left_out_and_counted(coco_folder, case, caplog):
    change, _, kind = BAD_ANNOTATIONS[case]
    coco_folder.annotation(2).update(change)
    with caplog.at_level(logging.WARNING):
        loaded = load(coco_folder, on_error="skip")
    kept = [annotation["id"] for annotation in loaded.content["annotations"]]
    assert kept == [1, 3, 4]
    assert loaded.counts == {("left out", kind): 1}
    (record,) = caplog.records
    assert f"1 {kind}: left out" in record.getMessage()


@pytest.mark.parametrize("kind", ["empty", "full", "noise", "shapes"])
@pytest.mark.parametrize("size", [(48, 64), (1, 1), (1, 700), (650, 3)])
def test_compressed_run_lengths_are_accepted(coco_folder, kind, size):
    random = np.random.RandomState(0)
    mask = np.zeros(size, dtype=np.uint8, order="F")
    if kind == "full":
        mask[:] = 1
    elif kind == "noise":
        mask[:] = random.rand(*size) < 0.5
    elif kind == "shapes":
        mask[size[0] // 3 : size[0] // 2 + 1, size[1] // 4 :] = 1
    counts = coco_mask.encode(mask)["counts"].decode()
    coco_folder.content["images"][0].update(height=size[0], width=size[1])
    coco_folder.content["annotations"] = []
    coco_folder.add(20, [0, 0, 1, 1], segmentation={"size": list(size), "counts": counts})
    (annotation,) = load(coco_folder).by_image[20]
    assert annotation["segmentation"]["counts"] == counts


def test_a_name_written_on_windows_gets_its_hint(coco_folder):
    coco_folder.content["images"][0]["file_name"] = "sub\\wide.png"
    with pytest.raises(DatasetError, match=r"write / in file_name"):
        load(coco_folder)


def test_an_entry_that_is_no_object(coco_folder):
    coco_folder.content["annotations"].append(17)
    with pytest.raises(DatasetError, match=r"entry 4 of 'annotations'.*got 17"):
        load(coco_folder)


def test_boxes_that_overhang_by_rounding_are_normal(coco_folder, caplog):
    coco_folder.add(20, [-1.9, -0.4, 67.7, 50.2])
    assert len(load(coco_folder).by_image[20]) == 4
    assert caplog.records == []


def test_boxes_that_overhang_far_stop_or_are_clipped(coco_folder, caplog):
    coco_folder.add(20, [50, 10, 20, 10])
    with pytest.raises(DatasetError, match=r"annotation 5 .*6 pixels beyond the image of 64 x 48"):
        load(coco_folder)
    loaded = load(coco_folder, on_error="skip")
    assert len(loaded.by_image[20]) == 4
    assert "1 box partly outside the image: clipped" in caplog.text


def test_the_two_flat_boxes_of_coco_are_known(coco_folder):
    for annotation_id, image_id, box in (
        (918, 200365, [296.65, 388.33, 1.03, 0.0]),
        (2206849, 550395, [9.98, 188.56, 5.54, 0.0]),
    ):
        image = {"id": image_id, "file_name": "tall.png", "width": 640, "height": 480}
        coco_folder.content["images"].append(image)
        coco_folder.add(image_id, box, id=annotation_id)
    assert len(load(coco_folder).by_image[550395]) == 1


def test_masks_can_be_required(coco_folder):
    coco_folder.add(20, [5, 5, 9, 9])
    coco_folder.add(20, [5, 5, 9, 9], iscrowd=1)
    assert len(load(coco_folder).by_image[20]) == 5
    with pytest.raises(DatasetError, match=r"annotation 5 .*no segmentation.*MASK_ON False"):
        load(coco_folder, require_masks=True)
    skipped = load(coco_folder, require_masks=True, on_error="skip")
    assert [a["id"] for a in skipped.by_image[20]] == [1, 2, 3, 6]


def test_many_problems_are_listed_together(coco_folder):
    for number in range(12):
        coco_folder.add(20, [100 + number, 5, 9, 9])
    with pytest.raises(DatasetError) as caught:
        load(coco_folder)
    text = str(caught.value)
    assert "12 problems:\n  annotation 5 (image 20, 'wide.png')" in text
    assert "annotation 14" in text
    assert "annotation 15" not in text
    assert "and 2 more" in text


BAD_IMAGES = {
    "no width": ({"width": None}, r"image 20 \('wide.png'\) must have a width.*got None"),
    "zero": ({"height": 0}, "must have a height in whole pixels, got 0"),
    "fraction": ({"height": 10.5}, "must have a height in whole pixels, got 10.5"),
    "no name": ({"file_name": ""}, "image 20 has no file_name"),
    "text id": ({"id": "20"}, "entry 0 of 'images'.*whole number as id"),
    "missing file": ({"file_name": "gone.png"}, r"image 20: there is no file '.*gone\.png'"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_a_bad_image_stops_or_is_left_out_with_its_annotations(coco_folder, case, caplog):
    change, message = BAD_IMAGES[case]
    if "id" in change:
        coco_folder.content["annotations"] = [coco_folder.annotation(4)]
    coco_folder.content["images"][0].update(change)
    with pytest.raises(DatasetError, match=message):
        load(coco_folder)
    loaded = load(coco_folder, on_error="skip")
    assert list(loaded.images) == [10, 30]
    assert sum(loaded.counts.values()) == 1, "the annotations are not problems of their own"
    assert [a["id"] for a in loaded.content["annotations"]] == [4]


def test_duplicate_image_ids(coco_folder):
    coco_folder.content["images"][1]["id"] = 20
    coco_folder.annotation(4)["image_id"] = 20
    with pytest.raises(DatasetError, match=r"id 20 is used by 'wide.png' and by 'tall.png'"):
        load(coco_folder)
    assert len(load(coco_folder, on_error="skip").images) == 2


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"id": 7, "name": "again"}, "category id 7 is declared more than once"),
        ({"id": 9}, "category 9 has no name"),
        ({"name": "x"}, "entry 2 of 'categories'"),
    ],
)
def test_bad_categories(coco_folder, entry, message):
    coco_folder.content["categories"].append(entry)
    with pytest.raises(DatasetError, match=message):
        load(coco_folder)
    assert load(coco_folder, on_error="skip").categories == {7: "nut", 3: "fig"}


def test_a_wrong_image_folder_is_one_problem(coco_folder, tmp_path):
    message = r"none of its 3 image files is there; the first should be '.*nowhere/wide\.png'"
    for on_error in ("stop", "skip"):
        with pytest.raises(DatasetError, match=message if on_error == "stop" else "at least one"):
            load_coco_json(
                coco_folder.ann_file, image_folder=tmp_path / "nowhere", on_error=on_error
            )


def test_sub_folders_in_file_names(coco_folder):
    (coco_folder.root / "deep").mkdir()
    (coco_folder.root / "wide.png").rename(coco_folder.root / "deep/wide.png")
    coco_folder.content["images"][0]["file_name"] = "deep/wide.png"
    assert len(load(coco_folder).images) == 3


def test_the_fast_check_looks_at_boxes_only(coco_folder):
    coco_folder.annotation(2)["segmentation"] = [[1, 2]]
    coco_folder.content["images"][0]["file_name"] = "gone.png"
    assert len(load(coco_folder, check="fast").images) == 3
    coco_folder.annotation(2)["bbox"] = [5, 5, 0, 0]
    with pytest.raises(DatasetError, match="no extent"):
        load(coco_folder, check="fast")


def test_what_tools_leave_out_is_completed(coco_folder):
    for annotation in coco_folder.content["annotations"]:
        del annotation["area"], annotation["iscrowd"]
    del coco_folder.annotation(4)["segmentation"]
    loaded = load(coco_folder)
    by_id = {annotation["id"]: annotation for annotation in loaded.content["annotations"]}
    assert [by_id[i]["area"] for i in (1, 2, 3, 4)] == [128, 100, 128, 1200]
    assert all(annotation["iscrowd"] == 0 for annotation in by_id.values())


def test_whole_numbers_with_a_point_are_whole(coco_folder):
    coco_folder.content["images"][0]["width"] = 64.0
    assert load(coco_folder).images[20]["width"] == 64
