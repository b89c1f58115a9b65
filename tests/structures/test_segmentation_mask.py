"""Polygons and bit masks behave alike, whatever they were made of."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.structures.bounding_box import FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM
from maskrcnn_benchmark.structures.segmentation_mask import (
    BinaryMaskList,
    PolygonInstance,
    SegmentationMask,
)

SIZE = (20, 12)
SQUARE = [2, 3, 8, 3, 8, 9, 2, 9]
BAR = [12, 1, 18, 1, 18, 3, 12, 3]


@pytest.fixture
def bits() -> torch.Tensor:
    masks = torch.zeros(2, 12, 20, dtype=torch.uint8)
    masks[0, 3:9, 2:8] = 1
    masks[0, 1:3, 12:18] = 1
    masks[1, 3:9, 2:8] = 1
    return masks


@pytest.fixture
def polygons() -> SegmentationMask:
    return SegmentationMask([[SQUARE, BAR], [SQUARE]], SIZE)


def test_all_ways_to_say_the_same(polygons, bits):
    compressed = [coco_mask.encode(np.asfortranarray(mask.numpy())) for mask in bits]
    uncompressed = [{"size": [12, 20], "counts": _run_lengths(mask)} for mask in bits]
    forms = [bits, list(bits), compressed, uncompressed, [[SQUARE, BAR], compressed[1]]]
    assert torch.equal(polygons.get_mask_tensor(), bits)
    for form in forms:
        made = SegmentationMask(form, SIZE, mode="mask")
        assert torch.equal(made.get_mask_tensor(), bits)
        assert (len(made), made.size, made.mode) == (2, SIZE, "mask")


def _run_lengths(mask: torch.Tensor) -> list[int]:
    flat = [0, *mask.t().reshape(-1).tolist()]
    changes = [0] + [i for i in range(1, len(flat)) if flat[i] != flat[i - 1]] + [len(flat)]
    runs = [b - a for a, b in pairwise(changes)]
    return [runs[0] - 1, *runs[1:]]


def test_conversion_goes_back_and_forth(polygons, bits):
    masks = polygons.convert("mask")
    assert torch.equal(masks.get_mask_tensor(), bits)
    assert torch.equal(masks.convert("poly").get_mask_tensor(), bits)
    assert polygons.convert("poly") is polygons
    with pytest.raises(NotImplementedError, match="got 'rle'"):
        polygons.convert("rle")


@pytest.mark.parametrize("method", [FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM])
def test_two_flips_are_none(polygons, bits, method):
    masks = SegmentationMask(bits, SIZE, mode="mask")
    flipped = masks.transpose(method).get_mask_tensor()
    assert torch.equal(flipped, bits.flip(2 if method == FLIP_LEFT_RIGHT else 1))
    for each in (polygons, masks):
        back = each.transpose(method).transpose(method)
        assert torch.equal(back.get_mask_tensor(), bits)
        with pytest.raises(NotImplementedError, match="got 5"):
            each.transpose(5)


def test_polygon_flips_mirror_about_the_pixel_centres(polygons):
    left_right = polygons.transpose(FLIP_LEFT_RIGHT)
    assert left_right.instances.polygons[1].polygons[0].tolist() == [17, 3, 11, 3, 11, 9, 17, 9]
    top_bottom = polygons.transpose(FLIP_TOP_BOTTOM)
    assert top_bottom.instances.polygons[1].polygons[0].tolist() == [2, 8, 8, 8, 8, 2, 2, 2]


def test_polygon_crop_moves_points_and_keeps_fractions(polygons):
    cropped = polygons.crop(torch.tensor([1.5, 2.0, 9.0, 30.0]))
    assert cropped.size == (7.5, 28)
    square = cropped.instances.polygons[1].polygons[0]
    assert square.tolist() == [0.5, 1, 6.5, 1, 6.5, 7, 0.5, 7]
    resized = cropped.resize((15, 14)).instances.polygons[1].polygons[0]
    assert resized.tolist() == [1, 0.5, 13, 0.5, 13, 3.5, 1, 3.5]


def test_a_crop_corner_outside_moves_in_but_the_size_stays(polygons):
    cropped = polygons.crop((-4.0, 50.0, 8.0, 60.0))
    assert cropped.size == (12, 10)
    assert cropped.instances.polygons[1].polygons[0].tolist() == [2, -8, 8, -8, 8, -2, 2, -2]


def test_a_crop_without_extent_can_be_resized(polygons, bits):
    for each in (polygons, SegmentationMask(bits, SIZE, mode="mask")):
        target = each.crop((3.0, 4.0, 3.0, 4.0)).resize((14, 14))
        assert target.get_mask_tensor().shape == (2, 14, 14)


def test_bit_mask_crop_rounds_half_to_even_and_ends_before_x2(bits):
    cropped = SegmentationMask(bits, SIZE, mode="mask").crop((2.5, 3.5, 8.5, 99.0))
    assert cropped.size == (6, 8)
    assert torch.equal(cropped.get_mask_tensor(), bits[:, 4:12, 2:8])


@pytest.mark.parametrize(
    ("dtype", "expected"), [(torch.bool, [0, 1, 1, 1, 1, 0]), (torch.uint8, [0, 0, 1, 1, 0, 0])]
)
def test_bit_mask_resize_depends_on_the_type_as_it_always_did(dtype, expected):
    # Interpolated: 0, 0.5, 1, 1, 0.5, 0. Anything above zero remains of bool, only ones of uint8.
    row = torch.tensor([[0, 1, 1, 0]], dtype=dtype)
    resized = SegmentationMask(row[None], (4, 1), mode="mask").resize((6, 1))
    assert resized.get_mask_tensor().dtype == dtype
    assert resized.get_mask_tensor()[0].tolist() == expected


def test_bit_mask_resize_to_nearest_keeps_the_area():
    yy, xx = torch.meshgrid(torch.arange(60), torch.arange(80), indexing="ij")
    disc = (((yy - 30) ** 2 + (xx - 40) ** 2) < 400).to(torch.uint8)[None]
    area = float(disc.sum())
    for size in ((160, 120), (40, 30)):
        masks = BinaryMaskList(disc, (80, 60), threshold=0.5)
        resized = SegmentationMask(masks, (80, 60), mode="mask").resize(size)
        scaled = float(resized.get_mask_tensor().sum()) * (80 / size[0]) ** 2
        assert scaled == pytest.approx(area, rel=0.04)
        assert resized.transpose(0)[0].instances.threshold == 0.5


def test_run_length_code_of_another_size_is_resized():
    rle = coco_mask.encode(np.asfortranarray(np.ones((6, 10), np.uint8)))
    made = SegmentationMask([rle], SIZE, mode="mask")
    assert made.get_mask_tensor().shape == (12, 20)
    assert made.get_mask_tensor().all()


def test_too_short_polygons_leave_their_instance_in_place():
    masks = SegmentationMask([[SQUARE], [[1, 2, 3, 4]], [BAR, [5, 5]]], SIZE)
    assert [len(instance) for instance in masks.instances] == [1, 0, 1]
    assert masks.as_masks().flatten(1).sum(1).tolist() == [36, 0, 12]
    assert masks.resize((40, 24)).crop((0, 0, 9, 9))[1].get_mask_tensor().sum() == 0


def test_selection_and_iteration(polygons, bits):
    for each in (polygons, SegmentationMask(bits, SIZE, mode="mask")):
        assert torch.equal(each[1].as_masks(), bits[1:])
        assert torch.equal(each[-1].get_mask_tensor(), bits[1]), "one instance: no first axis"
        assert torch.equal(each[torch.tensor([1, 0, 1])].as_masks(), bits[[1, 0, 1]])
        assert torch.equal(each[torch.tensor([False, True])].as_masks(), bits[1:])
        assert torch.equal(each[:1].as_masks(), bits[:1])
        assert [len(one) for one in each] == [1, 1]
        assert each[torch.zeros(2, dtype=torch.bool)].as_masks().shape == (0, 12, 20)
        with pytest.raises(IndexError):
            each[2]
        with pytest.raises(IndexError, match="2 entries"):
            each[torch.tensor([True])]


def test_no_instances():
    for mode in ("poly", "mask"):
        empty = SegmentationMask([], SIZE, mode=mode)
        assert len(empty) == 0
        assert empty.resize((10, 6)).transpose(0).as_masks().shape == (0, 6, 10)


def test_masks_are_copied_and_stay_on_the_cpu(bits):
    masks = SegmentationMask(bits, SIZE, mode="mask")
    bits.zero_()
    assert masks.get_mask_tensor().any()
    assert masks.to("meta") is masks


def test_polygons_travel_between_processes_as_arrays(polygons, bits):
    payload = pickle.dumps(polygons)
    assert b"rebuild_tensor" not in payload
    assert torch.equal(pickle.loads(payload).get_mask_tensor(), bits)


@pytest.mark.parametrize(
    ("instances", "mode", "message"),
    [
        ([{"size": [12, 20], "counts": "x"}], "poly", "mode='mask'"),
        (torch.zeros(1, 12, 20), "poly", "mode='mask'"),
        ([[[1, 2, 3, 4, 5, 6, 7]]], "poly", r"even number.*\(7,\)"),
        ([[[[1, 2], [3, 4], [5, 6]]]], "poly", r"flat.*\(3, 2\)"),
        (torch.zeros(1, 20, 12), "mask", r"\(N, 12, 20\).*got \(1, 20, 12\)"),
    ],
)
def test_what_does_not_fit_is_refused(instances, mode, message):
    with pytest.raises(ShapeError, match=message):
        SegmentationMask(instances, SIZE, mode=mode)


def test_unknown_mode():
    with pytest.raises(NotImplementedError, match="got 'rle'"):
        SegmentationMask([], SIZE, mode="rle")


def test_an_instance_can_be_given_ready_made(bits):
    instance = PolygonInstance([SQUARE], SIZE)
    assert torch.equal(SegmentationMask([instance], SIZE).get_mask_tensor(), bits[1])
    assert "num_polygons=1" in repr(instance)
