"""BoxList: hand-computed geometry, round trips, and fields that follow."""

import copy
import pickle

import numpy as np
import pytest
import torch

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.structures.bounding_box import (
    FLIP_LEFT_RIGHT,
    FLIP_TOP_BOTTOM,
    BoxList,
)
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

BOXES = [[0.0, 0.0, 9.0, 4.0], [2.0, 1.0, 5.0, 8.0], [10.0, 10.0, 19.0, 29.0]]


@pytest.fixture
def boxlist() -> BoxList:
    result = BoxList(BOXES, (20, 30))
    result.add_field("labels", torch.tensor([1, 2, 3]))
    result.add_field("masks", SegmentationMask([[[0, 0, 4, 0, 4, 4]]] * 3, (20, 30)))
    result.sample_seed = 77
    return result


@pytest.mark.parametrize(
    "make", [list, np.array, torch.tensor, lambda b: torch.tensor(b, dtype=torch.float64)]
)
def test_takes_anything_like_an_array_as_float32(make):
    boxlist = BoxList(make(BOXES), (20, 30))
    assert boxlist.bbox.dtype == torch.float32
    assert boxlist.bbox.tolist() == BOXES
    assert boxlist.size == (20, 30)
    assert (boxlist.size.width, boxlist.size.height) == (20, 30)
    assert len(boxlist) == 3
    assert repr(boxlist) == "BoxList(num_boxes=3, image_width=20, image_height=30, mode=xyxy)"


@pytest.mark.parametrize("bad", [[1.0, 2, 3, 4], [[1.0, 2, 3]], torch.zeros(2, 3, 4), []])
def test_other_shapes_are_refused(bad):
    with pytest.raises(ShapeError, match=r"\(N, 4\), got"):
        BoxList(bad, (20, 30))


def test_unknown_modes_are_refused(boxlist):
    with pytest.raises(ValueError, match="'xyxy' or 'xywh', got 'cxcywh'"):
        BoxList(BOXES, (20, 30), mode="cxcywh")
    with pytest.raises(ValueError, match="'xyxy' or 'xywh', got 'yxyx'"):
        boxlist.convert("yxyx")


def test_widths_count_both_corners(boxlist):
    assert boxlist.convert("xywh").bbox.tolist() == [[0, 0, 10, 5], [2, 1, 4, 8], [10, 10, 10, 20]]
    assert boxlist.area().tolist() == [50, 32, 200]
    assert boxlist.convert("xywh").area().tolist() == [50, 32, 200]


def test_conversion_goes_back_and_keeps_fields(boxlist):
    there = boxlist.convert("xywh")
    back = there.convert("xyxy")
    assert torch.equal(back.bbox, boxlist.bbox)
    assert back.fields() == ["labels", "masks"]
    assert boxlist.convert("xyxy") is boxlist


def test_a_width_below_one_becomes_an_empty_box():
    corners = BoxList([[3.0, 4.0, 0.5, 2.0]], (9, 9), mode="xywh").convert("xyxy").bbox
    assert corners.tolist() == [[3, 4, 3, 5]]


def test_resize_by_one_ratio_multiplies_all_four_numbers(boxlist):
    assert torch.equal(boxlist.resize((40, 60)).bbox, boxlist.bbox * 2)
    xywh = boxlist.convert("xywh").resize((40, 60))
    assert torch.equal(xywh.bbox, boxlist.convert("xywh").bbox * 2)
    assert xywh.size == (40, 60)


def test_resize_by_two_ratios_scales_corners(boxlist):
    resized = boxlist.resize((40, 15))
    assert resized.bbox[2].tolist() == [20, 5, 38, 14.5]
    assert boxlist.convert("xywh").resize((40, 15)).bbox[2].tolist() == [20, 5, 19, 10.5]
    assert resized.get_field("masks").size == (40, 15)
    assert resized.get_field("labels").tolist() == [1, 2, 3]


@pytest.mark.parametrize("method", [FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM])
@pytest.mark.parametrize("mode", ["xyxy", "xywh"])
def test_two_flips_are_none(boxlist, method, mode):
    there = boxlist.convert(mode).transpose(method)
    assert there.mode == mode
    assert not torch.equal(there.bbox, boxlist.convert(mode).bbox)
    back = there.transpose(method)
    assert torch.equal(back.bbox, boxlist.convert(mode).bbox)
    masks = back.get_field("masks").get_mask_tensor()
    assert torch.equal(masks, boxlist.get_field("masks").get_mask_tensor())


def test_flips_by_hand(boxlist):
    assert boxlist.transpose(FLIP_LEFT_RIGHT).bbox[1].tolist() == [14, 1, 17, 8]
    assert boxlist.transpose(FLIP_TOP_BOTTOM).bbox[1].tolist() == [2, 21, 5, 28]
    with pytest.raises(NotImplementedError, match="got 2"):
        boxlist.transpose(2)


@pytest.mark.parametrize("method", [FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM])
def test_a_box_stays_around_its_mask_when_flipped(method):
    mask = torch.zeros(1, 30, 20, dtype=torch.uint8)
    mask[0, 1:9, 2:6] = 1
    target = BoxList([[2.0, 1.0, 5.0, 8.0]], (20, 30))
    target.add_field("masks", SegmentationMask(mask, (20, 30), mode="mask"))
    flipped = target.transpose(method)
    ys, xs = flipped.get_field("masks").get_mask_tensor().nonzero().unbind(1)
    assert flipped.bbox[0].tolist() == [xs.min(), ys.min(), xs.max(), ys.max()]


def test_crop_moves_clamps_and_keeps_empty_boxes(boxlist):
    cropped = boxlist.crop((4, 2, 12, 12))
    assert cropped.size == (8, 10)
    assert cropped.bbox.tolist() == [[0, 0, 5, 2], [0, 0, 1, 6], [6, 8, 8, 10]]
    assert len(BoxList([[0.0, 0, 1, 1]], (20, 30)).crop((5, 5, 9, 9))) == 1


def test_clip_leaves_the_given_tensor_alone_and_removes_empty_boxes():
    given = torch.tensor([[-3.0, -2.0, 25.0, 40.0], [20.0, 0.0, 30.0, 5.0], [4.0, 4.0, 4.0, 9.0]])
    kept = given.clone()
    boxlist = BoxList(given, (20, 30))
    boxlist.add_field("labels", torch.tensor([1, 2, 3]))
    clipped = boxlist.clip_to_image()
    assert clipped.bbox.tolist() == [[0, 0, 19, 29]]
    assert clipped.get_field("labels").tolist() == [1]
    assert len(boxlist.clip_to_image(remove_empty=False)) == 3
    assert torch.equal(given, kept)
    in_xywh = boxlist.convert("xywh").clip_to_image()
    assert in_xywh.bbox.tolist() == [[0, 0, 20, 30]]


def test_indexing_takes_the_fields_along(boxlist):
    for item in (slice(1, 3), [1, 2], torch.tensor([1, 2]), torch.tensor([False, True, True])):
        part = boxlist[item]
        assert part.bbox.tolist() == BOXES[1:]
        assert part.get_field("labels").tolist() == [2, 3]
        assert len(part.get_field("masks")) == 2
    assert boxlist[-1].get_field("labels").tolist() == [3]
    assert [int(one.get_field("labels")) for one in boxlist] == [1, 2, 3]
    with pytest.raises(IndexError):
        boxlist[3]


def test_fields_by_name(boxlist):
    assert boxlist.has_field("labels")
    with pytest.raises(KeyError, match=r"no field 'scores'.*'labels', 'masks'"):
        boxlist.get_field("scores")
    only = boxlist.copy_with_fields("labels")
    assert only.fields() == ["labels"]
    assert only.bbox is boxlist.bbox
    with pytest.raises(KeyError):
        boxlist.copy_with_fields(["labels", "scores"])
    assert boxlist.copy_with_fields(["labels", "scores"], skip_missing=True).fields() == ["labels"]


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.convert("xywh"),
        lambda b: b.resize((40, 60)),
        lambda b: b.resize((40, 15)),
        lambda b: b.transpose(FLIP_LEFT_RIGHT),
        lambda b: b.crop((0, 0, 10, 10)),
        lambda b: b.clip_to_image(),
        lambda b: b.to("cpu"),
        lambda b: b[:1],
        lambda b: b.copy_with_fields([]),
        copy.deepcopy,
        lambda b: pickle.loads(pickle.dumps(b)),
    ],
)
def test_the_sample_seed_is_never_lost(boxlist, change):
    assert change(boxlist).sample_seed == 77


def test_to_moves_whatever_can_move(boxlist):
    boxlist.add_field("names", ["a", "b", "c"])
    moved = boxlist.to("meta")
    assert moved.bbox.device.type == "meta"
    assert moved.get_field("labels").device.type == "meta"
    assert moved.get_field("names") == ["a", "b", "c"]
    assert moved.get_field("masks").get_mask_tensor().device.type == "cpu"


def test_a_size_that_was_assigned_or_pickled_by_the_old_project_is_a_plain_pair(boxlist):
    expected = boxlist.resize((40, 30)).transpose(FLIP_LEFT_RIGHT).clip_to_image()
    old = BoxList.__new__(BoxList)
    # What the old class kept, and its pickles hold.
    old.__dict__.update(
        bbox=boxlist.bbox,
        size=(20, 30),
        mode="xyxy",
        extra_fields={"labels": torch.tensor([1, 2, 3])},
    )
    boxlist.size = (20, 30)
    for given in (boxlist, pickle.loads(pickle.dumps(old))):
        moved = given.to("cpu").resize((40, 30)).transpose(FLIP_LEFT_RIGHT).clip_to_image()
        assert moved.size == expected.size
        assert torch.equal(moved.bbox, expected.bbox)
        assert moved.get_field("labels").tolist() == expected.get_field("labels").tolist()
    assert old.sample_seed is None
