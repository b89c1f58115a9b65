"""Keypoints of one image: geometry, selection, names; and the old heat-map targets."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.structures.bounding_box import (
    FLIP_LEFT_RIGHT,
    FLIP_TOP_BOTTOM,
    BoxList,
)
from maskrcnn_benchmark.structures.boxlist_ops import cat_boxlist
from maskrcnn_benchmark.structures.keypoint import (
    PERSON,
    Keypoints,
    KeypointSchema,
    PersonKeypoints,
    keypoints_to_heat_map,
    make_keypoints,
)

CHAIR = KeypointSchema(
    names=("seat", "left arm", "right arm"), flip_pairs=((1, 2),), skeleton=((0, 1), (0, 2))
)


def make_chairs() -> Keypoints:
    points = [[[10, 20, 2], [4, 8, 2], [16, 9, 1]], [[30, 5, 2], [0, 0, 0], [36, 6, 2]]]
    return Keypoints(points, (40, 30), schema=CHAIR)


def test_old_signature() -> None:
    keypoints = PersonKeypoints(torch.rand(2, 17, 3), (640, 480))
    assert keypoints.size == (640, 480)
    assert keypoints.mode is None
    assert PersonKeypoints(torch.rand(1, 17, 3), (640, 480), "xyv").mode == "xyv"
    assert keypoints.keypoints.shape == (2, 17, 3)
    keypoints.add_field("logits", torch.rand(2, 17))
    assert keypoints.get_field("logits").shape == (2, 17)
    with pytest.raises(KeyError, match=r"no field 'visible'.*logits"):
        keypoints.get_field("visible")


def test_those_that_the_old_project_pickled_are_a_persons() -> None:
    keypoints = PersonKeypoints(torch.rand(2, 17, 3) + 1, (40, 30))
    old = PersonKeypoints.__new__(PersonKeypoints)
    old.__dict__.update(keypoints=keypoints.keypoints, size=(40, 30), mode=None, extra_fields={})
    old = pickle.loads(pickle.dumps(old))
    expected = keypoints.resize((80, 30)).transpose(FLIP_LEFT_RIGHT)
    moved = old[[0, 1]].resize((80, 30)).transpose(FLIP_LEFT_RIGHT)
    assert torch.equal(moved.keypoints, expected.keypoints)
    assert moved.schema == PERSON
    assert "image_width=40, image_height=30" in repr(old)


def test_person() -> None:
    assert len(PersonKeypoints.NAMES) == 17
    assert PersonKeypoints.FLIP_INDS == [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    assert PersonKeypoints.FLIP_MAP["left_eye"] == "right_eye"
    assert len(PersonKeypoints.FLIP_MAP) == 8
    assert len(PersonKeypoints.CONNECTIONS) == 15
    names = PersonKeypoints.NAMES
    lines = {frozenset((names[a], names[b])) for a, b in PersonKeypoints.CONNECTIONS}
    assert frozenset(("left_hip", "left_knee")) in lines
    assert len(PERSON.sigmas) == 17


@pytest.mark.parametrize("shape", [(2, 51), (2, 17, 3)])
def test_flat_keypoints_as_coco_writes_them(shape: tuple[int, ...]) -> None:
    values = torch.arange(102.0)
    keypoints = Keypoints(values.reshape(shape).tolist(), (640, 480))
    assert torch.equal(keypoints.keypoints, values.view(2, 17, 3))


def test_without_objects() -> None:
    assert Keypoints([], (40, 30), schema=CHAIR).keypoints.shape == (0, 3, 3)
    empty = PersonKeypoints(torch.zeros(0), (40, 30))
    assert empty.keypoints.shape == (0, 17, 3)
    assert len(empty.transpose(FLIP_LEFT_RIGHT).resize((80, 60))) == 0


def test_resize() -> None:
    resized = make_chairs().resize((80, 15))
    assert resized.size == (80, 15)
    assert resized.keypoints[0].tolist() == [[20, 10, 2], [8, 4, 2], [32, 4.5, 1]]


def test_flip_left_right_swaps_the_sides_and_clears_what_is_absent() -> None:
    flipped = make_chairs().transpose(FLIP_LEFT_RIGHT)
    assert flipped.keypoints.tolist() == [
        [[29, 20, 2], [23, 9, 1], [35, 8, 2]],
        [[9, 5, 2], [3, 6, 2], [0, 0, 0]],
    ]


def test_flip_top_bottom() -> None:
    flipped = make_chairs().transpose(FLIP_TOP_BOTTOM)
    assert flipped.keypoints[0].tolist() == [[10, 9, 2], [16, 20, 1], [4, 21, 2]]
    assert flipped.keypoints[1, 2].tolist() == [0, 0, 0]


@pytest.mark.parametrize("method", [FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM])
def test_flipping_twice_changes_nothing(method: int) -> None:
    keypoints = make_chairs()
    keypoints.add_field("logits", torch.rand(2, 3))
    twice = keypoints.transpose(method).transpose(method)
    assert torch.equal(twice.keypoints, keypoints.keypoints)
    assert torch.equal(twice.get_field("logits"), keypoints.get_field("logits"))
    once = keypoints.transpose(method).get_field("logits")
    assert torch.equal(once, keypoints.get_field("logits")[:, [0, 2, 1]])


def test_other_flips_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="got 2"):
        make_chairs().transpose(2)


def test_crop_hides_what_lies_outside() -> None:
    cropped = make_chairs().crop((4, 8, 20, 20))
    assert cropped.size == (16, 12)
    assert cropped.keypoints[0].tolist() == [[6, 12, 2], [0, 0, 2], [12, 1, 1]]
    assert cropped.keypoints[1].tolist() == [[0, 0, 0]] * 3


@pytest.mark.parametrize("item", [1, [1], slice(1, 2), torch.tensor([False, True])])
def test_selection(item: int | list[int] | slice | Tensor) -> None:
    keypoints = make_chairs()
    keypoints.add_field("logits", torch.tensor([[1.0, 2, 3], [4, 5, 6]]))
    chosen = keypoints[item]
    assert chosen.keypoints.tolist() == keypoints.keypoints[1:].tolist()
    assert chosen.get_field("logits").tolist() == [[4, 5, 6]]
    assert chosen.schema is CHAIR
    assert len(chosen) == 1


def test_as_a_field_of_a_boxlist() -> None:
    boxes = BoxList([[0, 0, 20, 20], [20, 0, 39, 20]], (40, 30))
    boxes.add_field("keypoints", make_chairs())
    moved = cat_boxlist([boxes.resize((80, 60)).transpose(FLIP_LEFT_RIGHT)[[1]]] * 2).to("cpu")
    assert moved.get_field("keypoints").keypoints[:, 0].tolist() == [[19, 10, 2]] * 2
    assert "num_instances=2" in repr(moved.get_field("keypoints"))


def test_number_of_keypoints_decides_on_the_type() -> None:
    assert isinstance(make_keypoints(torch.rand(1, 17, 3), (9, 9)), PersonKeypoints)
    five = make_keypoints(torch.rand(1, 5, 3), (9, 9))
    assert type(five) is Keypoints
    assert five.schema.names[4] == "keypoint 4"
    assert five.schema.flip_indices == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("shape", [(2, 17), (17, 3, 2), (2, 17, 2)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"keypoints must have shape \(N, K, 3\)"):
        Keypoints(torch.rand(*shape), (9, 9))


def test_another_number_than_the_schema_says_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"expected 3 keypoints per object \(seat.*got 4"):
        Keypoints(torch.rand(1, 4, 3), (9, 9), schema=CHAIR)


def test_schema_survives_json() -> None:
    assert KeypointSchema.from_dict(PERSON.to_dict()) == PERSON
    assert KeypointSchema.from_dict(None) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flip_pairs": ((0, 3),)}, r"flip pair \(0, 3\): there are 3 keypoints"),
        ({"flip_pairs": ((0, 1), (1, 2))}, "more than one flip pair"),
        ({"skeleton": ((-1, 1),)}, r"skeleton line \(-1, 1\)"),
        ({"sigmas": (0.1,)}, "expected 3 sigmas, one per keypoint, got 1"),
    ],
)
def test_a_schema_that_contradicts_itself_is_refused(
    change: dict[str, tuple[float, ...]], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        KeypointSchema(**{"names": CHAIR.names, **change})  # type: ignore[arg-type]


def test_old_heat_map_targets() -> None:
    keypoints = torch.tensor([[[10.0, 20, 2], [30, 40, 1], [15, 25, 0], [9, 20, 2]]])
    rois = torch.tensor([[10.0, 20, 30, 40]])
    targets, valid = keypoints_to_heat_map(keypoints, rois, 4)
    assert targets.dtype == valid.dtype == torch.int64
    assert valid.tolist() == [[1, 1, 0, 0]]
    assert targets.tolist() == [[0, 15, 0, 0]]
