"""What the keypoints of a file are, and the targets made of them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from maskrcnn_benchmark.data.datasets.coco import COCODataset, has_valid_annotation
from maskrcnn_benchmark.data.datasets.coco_keypoints import (
    find_keypoint_schema,
    keypoint_problem,
    pair_sides,
    visible_count,
)
from maskrcnn_benchmark.data.datasets.concat_dataset import ConcatDataset
from maskrcnn_benchmark.errors import DatasetError
from maskrcnn_benchmark.structures.keypoint import PERSON, Keypoints, KeypointSchema
from tests.data.conftest import CocoFolder

NAMES = ["stem", "left end", "right end", "tip"]
RECORD = {"id": 3, "name": "fig", "keypoints": NAMES, "skeleton": [[1, 2], [1, 3]]}


@pytest.fixture
def fig_folder(coco_folder: CocoFolder) -> CocoFolder:
    """The small folder with four keypoints on its fig, and none on its nuts."""
    coco_folder.content["categories"][1] = dict(RECORD)
    coco_folder.annotation(1)["keypoints"] = [10, 8, 2, 5, 9, 1, 22, 10, 2, 0, 0, 0]
    coco_folder.write()
    return coco_folder


def open_folder(folder: CocoFolder, **settings: Any) -> COCODataset:
    return COCODataset(folder.write(), folder.root, True, **settings)


def test_names_of_the_two_sides_make_pairs() -> None:
    assert pair_sides(PERSON.names) == PERSON.flip_pairs
    assert pair_sides(["l_eye", "r_eye", "nose", "l_"]) == ((0, 1),)
    assert pair_sides(["eyeRight", "eyeLeft", "Leftover"]) == ((1, 0),)
    assert pair_sides(["wing_r", "tail", "wing_l"]) == ((2, 0),)
    assert pair_sides(["LEFT", "RIGHT", "left"]) == ((0, 1),)


def test_schema_of_a_category_record(fig_folder: CocoFolder) -> None:
    schema = open_folder(fig_folder).keypoint_schema
    assert schema == KeypointSchema(
        names=tuple(NAMES), flip_pairs=((1, 2),), skeleton=((0, 1), (0, 2))
    )


def test_sigmas_of_a_record_and_of_a_person() -> None:
    content: dict[str, Any] = {"categories": [{**RECORD, "sigmas": [0.1, 0.2, 0.2, 0.3]}]}
    schema = find_keypoint_schema("f.json", content)
    assert schema is not None
    assert schema.sigmas == (0.1, 0.2, 0.2, 0.3)
    given = find_keypoint_schema("f.json", content, sigmas=(0.4,) * 4, flip_pairs=((0, 3),))
    assert given is not None
    assert (given.sigmas, given.flip_pairs) == ((0.4,) * 4, ((0, 3),))
    content["categories"] = [{"name": "person", "keypoints": list(PERSON.names)}]
    person = find_keypoint_schema("f.json", content)
    assert person is not None
    assert person.sigmas == PERSON.sigmas


def test_annotations_alone_say_how_many_there_are() -> None:
    content = {"categories": [{"name": "fig"}], "annotations": [{"keypoints": [1, 2, 2] * 5}]}
    schema = find_keypoint_schema("f.json", content)
    assert schema is not None
    assert len(schema.names) == 5
    assert schema.flip_pairs == ()
    content["annotations"] = [{"keypoints": [1, 2, 2] * 17}]
    assert find_keypoint_schema("f.json", content) == PERSON
    assert find_keypoint_schema("f.json", {"categories": [{"name": "fig"}]}) is None


def test_different_numbers_of_keypoints_are_refused() -> None:
    other = {"name": "nut", "keypoints": ["top", "bottom"]}
    with pytest.raises(DatasetError, match=r"f\.json: objects have 2 or 4 keypoints"):
        find_keypoint_schema("f.json", {"categories": [RECORD, other]})


def test_pairs_beyond_the_keypoints_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"flip pair \(1, 9\).*KEYPOINT_FLIP_PAIRS"):
        find_keypoint_schema("f.json", {"categories": [RECORD]}, flip_pairs=((1, 9),))


def test_a_skeleton_of_other_keypoints_is_not_drawn(caplog: pytest.LogCaptureFixture) -> None:
    content = {"categories": [{**RECORD, "skeleton": [[1, 4], [16, 14]]}]}
    with caplog.at_level(logging.WARNING):
        schema = find_keypoint_schema("f.json", content)
    assert schema is not None
    assert schema.skeleton == ((0, 3),)
    assert "1 of the 2 lines of its skeleton" in caplog.text


def test_targets_have_keypoints(fig_folder: CocoFolder) -> None:
    dataset = open_folder(fig_folder)
    wide = next(i for i in range(len(dataset)) if dataset.get_img_info(i)["id"] == 20)
    target = dataset.get_groundtruth(wide)
    keypoints = target.get_field("keypoints")
    assert type(keypoints) is Keypoints
    assert keypoints.schema == dataset.keypoint_schema
    assert keypoints.size == target.size
    assert keypoints.keypoints[0].tolist() == [[10, 8, 2], [5, 9, 1], [22, 10, 2], [0, 0, 0]]
    # The nut has none.
    assert keypoints.keypoints[1].tolist() == [[0, 0, 0]] * 4
    assert len(target) == len(keypoints) == 2


def test_files_without_keypoints_have_no_such_field(coco_folder: CocoFolder) -> None:
    dataset = open_folder(coco_folder)
    assert dataset.keypoint_schema is None
    assert not dataset.get_groundtruth(0).has_field("keypoints")
    with pytest.raises(DatasetError, match=r"no annotation has keypoints.*KEYPOINT_ON"):
        open_folder(coco_folder, require_keypoints=True)


@pytest.mark.parametrize(
    ("keypoints", "message"),
    [
        ([1, 2], "flat list x, y, visibility"),
        ([1, 2, float("nan")], "finite numbers"),
        ("nose", "flat list"),
        ([1, 2, 2] * 3, "'fig' has 4 keypoints, so 12 numbers are needed, got 9"),
        ([1, 2, 5] * 4, r"visibility must be 0, 1 or 2, got \[5\]"),
    ],
)
def test_malformed_keypoints_are_found(
    fig_folder: CocoFolder, keypoints: Any, message: str
) -> None:
    fig_folder.annotation(1)["keypoints"] = keypoints
    with pytest.raises(DatasetError, match=message) as error:
        open_folder(fig_folder)
    assert "annotation 1 (image 20, 'wide.png')" in str(error.value)


def test_no_keypoints_are_no_problem() -> None:
    assert keypoint_problem({"keypoints": []}, {}) is None
    assert keypoint_problem({}, RECORD) is None


def test_number_of_keypoints_is_completed(fig_folder: CocoFolder) -> None:
    dataset = open_folder(fig_folder)
    counts = {entry["id"]: entry.get("num_keypoints") for entry in dataset.coco.anns.values()}
    assert counts[1] == 3
    assert counts[2] is None
    assert visible_count({"keypoints": [2, 2, 0, 9, 9, 1]}) == 1


def person(visible: int) -> dict[str, Any]:
    return {"bbox": [0, 0, 9, 9], "keypoints": [1, 1, 2] * visible + [0, 0, 0] * (17 - visible)}


@pytest.mark.parametrize(
    ("annotations", "is_used"),
    [
        ([person(10)], True),
        ([person(9)], False),
        ([person(5), person(5)], True),
        # Of objects with fewer keypoints one is enough.
        ([{"bbox": [0, 0, 9, 9], "keypoints": [1, 1, 2, 0, 0, 0]}], True),
        ([{"bbox": [0, 0, 9, 9], "keypoints": [1, 1, 0, 0, 0, 0]}], False),
        ([{"bbox": [0, 0, 1, 9], "keypoints": [1, 1, 2, 0, 0, 0]}], False),
    ],
)
def test_images_worth_training_on(annotations: list[dict[str, Any]], is_used: bool) -> None:
    assert has_valid_annotation(annotations) is is_used


def test_joined_data_sets_must_have_the_same_keypoints(
    fig_folder: CocoFolder, coco_folder: CocoFolder
) -> None:
    figs = open_folder(fig_folder)
    assert ConcatDataset([figs, figs]).keypoint_schema == figs.keypoint_schema
    coco_folder.content["categories"][1] = {**RECORD, "keypoints": NAMES[::-1]}
    with pytest.raises(DatasetError, match="same keypoints in the same order: one has stem"):
        ConcatDataset([figs, open_folder(coco_folder)])


@pytest.mark.shared_data
def test_persons_of_coco(shared: Path) -> None:
    folder = shared / "data" / "coco_mini"
    dataset = COCODataset(
        folder / "annotations" / "person_keypoints_train2017.json", folder / "train2017", True
    )
    assert len(dataset) == 23
    schema = dataset.keypoint_schema
    assert schema is not None
    assert (schema.names, schema.flip_pairs) == (PERSON.names, PERSON.flip_pairs)
    assert len(schema.skeleton) == 19
    for index in range(len(dataset)):
        target = dataset.get_groundtruth(index)
        keypoints = target.get_field("keypoints").keypoints
        visible = keypoints[..., 2] > 0
        # In boxes that annotators drew around persons lie nearly all of their keypoints.
        corner, end = target.bbox[:, None, :2], target.bbox[:, None, 2:]
        inside = ((keypoints[..., :2] >= corner - 2) & (keypoints[..., :2] <= end + 2)).all(dim=2)
        assert inside[visible].float().mean() > 0.8
        assert torch.equal(keypoints[~visible], torch.zeros_like(keypoints[~visible]))
