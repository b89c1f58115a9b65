"""Target masks against the old way (crop, resize, draw); pasting against the rule read literally."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.layers.masks import paste_masks, paste_window, rasterize_in_boxes
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.padded import PackedMasks, PaddedTargets
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

SIZE = (120, 90)  # width, height


def star(x: float, y: float, radius: float, corners: int = 9) -> list[float]:
    """A jagged outline about (x, y)."""
    points = []
    for number in range(corners):
        angle = 2 * math.pi * number / corners
        reach = radius * (1.0 if number % 2 else 0.45)
        points += [x + reach * math.cos(angle), y + reach * math.sin(angle)]
    return points


POLYGONS = [
    [star(30, 30, 25)],
    [star(70, 50, 20), star(90, 20, 12)],  # two parts
    [star(60, 45, 30), star(60, 45, 8)],  # one part within the other
    [[10.0, 10.0, 12.0, 10.0]],  # no part: it has too few points
]


def pack(masks: SegmentationMask) -> PackedMasks:
    boxlist = BoxList(torch.zeros(len(masks), 4), SIZE)
    boxlist.add_field("labels", torch.ones(len(masks), dtype=torch.int64))
    boxlist.add_field("masks", masks)
    packed = PaddedTargets.from_boxlists([boxlist], with_masks=True).masks
    assert packed is not None
    return packed


def rasterize(
    packed: PackedMasks, boxes: Tensor, instances: Tensor, size: int, valid: Tensor | None = None
) -> Tensor:
    if valid is None:
        valid = torch.ones(len(boxes), dtype=torch.bool)
    return rasterize_in_boxes(
        packed.points,
        packed.part_starts,
        packed.instance_starts,
        packed.bits,
        packed.windows,
        boxes,
        instances,
        valid,
        size,
    )


def random_boxes(count: int) -> Tensor:
    corner = torch.rand(count, 2) * torch.tensor([80.0, 60.0])
    boxes = torch.cat((corner, corner + 3 + torch.rand(count, 2) * 60), dim=1)
    return torch.minimum(boxes, torch.tensor([119.0, 89.0, 119.0, 89.0]))


@pytest.mark.parametrize("size", [14, 28])
def test_polygons_equal_crop_and_resize(size: int) -> None:
    masks = SegmentationMask(POLYGONS, SIZE)
    boxes = random_boxes(60)
    instances = torch.randint(0, len(POLYGONS), (60,))
    got = rasterize(pack(masks), boxes, instances, size)
    assert got.dtype == torch.float32
    for row, (box, instance) in enumerate(zip(boxes, instances.tolist(), strict=True)):
        expected = masks[instance].crop(box).resize((size, size)).get_mask_tensor()
        assert torch.equal(got[row], expected.float())
    assert 0.05 < got.mean() < 0.95


def test_a_square_by_hand() -> None:
    masks = SegmentationMask([[[4.0, 4.0, 12.0, 4.0, 12.0, 12.0, 4.0, 12.0]]], SIZE)
    got = rasterize(pack(masks), torch.tensor([[0.0, 0.0, 16.0, 16.0]]), torch.tensor([0]), 8)
    expected = torch.zeros(8, 8)
    expected[2:6, 2:6] = 1
    assert torch.equal(got[0], expected)


def test_rows_that_do_not_count_stay_zero() -> None:
    packed = pack(SegmentationMask(POLYGONS, SIZE))
    boxes = torch.tensor([[5.0, 5.0, 55.0, 55.0]]).repeat(3, 1)
    got = rasterize(packed, boxes, torch.zeros(3).long(), 28, torch.tensor([True, False, True]))
    assert not got[1].any()
    assert got[0].any()
    assert torch.equal(got[0], got[2])
    none = rasterize(packed, boxes[:0], torch.zeros(0).long(), 28)
    assert none.shape == (0, 28, 28)


def test_a_region_without_extent_does_not_fail() -> None:
    packed = pack(SegmentationMask(POLYGONS, SIZE))
    boxes = torch.tensor([[30.0, 30.0, 30.0, 30.0], [30.0, 0.0, 30.0, 60.0]])
    assert rasterize(packed, boxes, torch.zeros(2).long(), 28).isfinite().all()


def bitmaps() -> Tensor:
    """The same shapes as pixels."""
    return SegmentationMask(POLYGONS, SIZE).convert("mask").as_masks()


def test_a_bitmap_in_a_box_of_its_own_resolution_is_copied() -> None:
    pixels = bitmaps()
    packed = pack(SegmentationMask(pixels, SIZE, mode="mask"))
    boxes = torch.tensor([[10.0, 8.0, 38.0, 36.0], [60.0, 40.0, 88.0, 68.0]])
    got = rasterize(packed, boxes, torch.tensor([0, 1]), 28)
    assert torch.equal(got[0], pixels[0, 8:36, 10:38].float())
    assert torch.equal(got[1], pixels[1, 40:68, 60:88].float())
    assert got.any(dim=2).any(dim=1).all()


def test_a_bitmap_beyond_the_image_is_empty_there() -> None:
    pixels = torch.ones(1, 90, 120, dtype=torch.uint8)
    packed = pack(SegmentationMask(pixels, SIZE, mode="mask"))
    got = rasterize(packed, torch.tensor([[-14.0, 76.0, 14.0, 104.0]]), torch.tensor([0]), 28)
    expected = torch.zeros(28, 28)
    expected[:14, 14:] = 1
    assert torch.equal(got[0], expected)
    got = rasterize(packed, torch.tensor([[200.0, 200.0, 240.0, 240.0]]), torch.tensor([0]), 28)
    assert not got.any()


def test_bitmaps_give_nearly_what_their_polygons_give() -> None:
    outlines = pack(SegmentationMask(POLYGONS[:3], SIZE))
    pixels = pack(SegmentationMask(bitmaps()[:3], SIZE, mode="mask"))
    boxes = random_boxes(90)
    boxes = boxes[((boxes[:, 2:] - boxes[:, :2]) > 25).all(dim=1)]
    instances = torch.arange(len(boxes)) % 3
    expected = rasterize(outlines, boxes, instances, 28)
    got = rasterize(pixels, boxes, instances, 28)
    both = (expected * got).sum()
    assert both / (expected.sum() + got.sum() - both) > 0.93
    # Neither grown nor shrunk.
    assert abs(got.sum() / expected.sum() - 1) < 0.02


def test_outlines_and_bitmaps_in_one_batch() -> None:
    first = BoxList(torch.zeros(2, 4), SIZE)
    second = BoxList(torch.zeros(1, 4), SIZE)
    for boxlist, masks in (
        (first, SegmentationMask(POLYGONS[:2], SIZE)),
        (second, SegmentationMask(bitmaps()[:1], SIZE, mode="mask")),
    ):
        boxlist.add_field("labels", torch.ones(len(boxlist), dtype=torch.int64))
        boxlist.add_field("masks", masks)
    packed = PaddedTargets.from_boxlists([first, second], with_masks=True).masks
    assert packed is not None
    box = torch.tensor([[10.0, 8.0, 38.0, 36.0]]).repeat(3, 1)
    # Instances of the second image begin at 2; its second one is padding.
    got = rasterize(packed, box, torch.tensor([0, 2, 3]), 28)
    expected = SegmentationMask(POLYGONS[:1], SIZE).crop(box[0]).resize((28, 28)).get_mask_tensor()
    assert torch.equal(got[0], expected.float())
    assert torch.equal(got[1], bitmaps()[0, 8:36, 10:38].float())
    assert not got[2].any()


def test_the_operator_is_well_defined_for_the_compiler() -> None:
    packed = pack(SegmentationMask(POLYGONS, SIZE))
    torch.library.opcheck(
        rasterize_in_boxes,
        (
            packed.points,
            packed.part_starts,
            packed.instance_starts,
            packed.bits,
            packed.windows,
            random_boxes(5),
            torch.tensor([0, 1, 2, 3, 0]),
            torch.tensor([True, True, True, True, False]),
            14,
        ),
    )


def bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize in float64 with half-pixel centres and a replicated border."""
    rows = np.clip((np.arange(height) + 0.5) * image.shape[0] / height - 0.5, 0, None)
    columns = np.clip((np.arange(width) + 0.5) * image.shape[1] / width - 0.5, 0, None)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    bottom = np.minimum(top + 1, image.shape[0] - 1)
    right = np.minimum(left + 1, image.shape[1] - 1)
    fy, fx = (rows - top)[:, None], (columns - left)[None]
    upper = image[top][:, left] * (1 - fx) + image[top][:, right] * fx
    lower = image[bottom][:, left] * (1 - fx) + image[bottom][:, right] * fx
    return upper * (1 - fy) + lower * fy


def naive_paste(
    mask: np.ndarray, box: np.ndarray, height: int, width: int, padding: int = 1
) -> np.ndarray:
    """The rule as it is written down, with the values before the threshold."""
    side = mask.shape[0]
    bordered = np.zeros((side + 2 * padding, side + 2 * padding))
    bordered[padding : padding + side, padding : padding + side] = mask
    scale = np.float32((side + 2 * padding) / side)
    box = box.astype(np.float32)
    half_width = (box[2] - box[0]) * np.float32(0.5) * scale
    half_height = (box[3] - box[1]) * np.float32(0.5) * scale
    center_x = (box[2] + box[0]) * np.float32(0.5)
    center_y = (box[3] + box[1]) * np.float32(0.5)
    x1, x2 = int(center_x - half_width), int(center_x + half_width)
    y1, y2 = int(center_y - half_height), int(center_y + half_height)
    w, h = max(x2 - x1 + 1, 1), max(y2 - y1 + 1, 1)
    resized = bilinear(bordered, h, w)
    image = np.zeros((height, width))
    for y in range(max(y1, 0), min(y2 + 1, height)):
        for x in range(max(x1, 0), min(x2 + 1, width)):
            image[y, x] = resized[y - y1, x - x1]
    return image


PASTE_BOXES = [
    [20.3, 10.7, 60.2, 50.9],  # inside
    [-15.5, -10.5, 20.0, 30.0],  # over the upper left corner
    [90.0, 60.0, 140.0, 120.0],  # over the lower right one
    [-30.0, 20.0, 200.0, 40.0],  # wider than the image
    [30.0, 30.0, 30.0, 30.0],  # a point
    [40.0, 5.0, 40.4, 80.0],  # a line
    [0.0, 0.0, 119.0, 89.0],  # the whole image
    [-60.0, -60.0, -20.0, -20.0],  # outside
    [150.0, 10.0, 180.0, 40.0],  # outside
    [-0.6, -0.6, 3.0, 3.0],  # truncated towards zero, not down
]


@pytest.mark.parametrize("side", [14, 28])
@pytest.mark.parametrize("padding", [1, 2])
def test_pasting_follows_the_rule(side: int, padding: int) -> None:
    boxes = torch.tensor(PASTE_BOXES)
    masks = torch.rand(len(boxes), side, side)
    got = paste_masks(masks, boxes, height=90, width=120, padding=padding)
    assert got.shape == (len(boxes), 90, 120)
    assert got.dtype == torch.bool
    for mask, box, pasted in zip(masks, boxes, got, strict=True):
        values = naive_paste(mask.double().numpy(), box.numpy(), 90, 120, padding)
        clear = np.abs(values - 0.5) > 1e-5
        assert (pasted.numpy() == (values > 0.5))[clear].all()
        assert clear.mean() > 0.999


@pytest.mark.parametrize("number", range(len(PASTE_BOXES)))
def test_a_window_is_the_part_inside_the_image(number: int) -> None:
    box, mask = torch.tensor(PASTE_BOXES[number]), torch.rand(28, 28)
    whole = paste_masks(mask[None], box[None], height=90, width=120)[0]
    top, left, window = paste_window(mask, box, height=90, width=120)
    height, width = window.shape
    assert top >= 0
    assert left >= 0
    assert top + height <= 90
    assert left + width <= 120
    assert torch.equal(whole[top : top + height, left : left + width], window)
    assert whole.sum() == window.sum()


def test_the_threshold_is_exclusive() -> None:
    mask = torch.full((1, 28, 28), 0.5)
    box = torch.tensor([[10.0, 10.0, 60.0, 60.0]])
    assert not paste_masks(mask, box, height=90, width=120).any()
    assert paste_masks(mask, box, height=90, width=120, threshold=0.49).any()


def naive_grid_value(mask: np.ndarray, box: list[float], x: int, y: int) -> float:
    """The mask at the centre of a pixel, bilinear between the centres of its cells, zero beyond them."""
    side = mask.shape[0]
    column = (x + 0.5 - box[0]) / (box[2] - box[0]) * side - 0.5
    row = (y + 0.5 - box[1]) / (box[3] - box[1]) * side - 0.5
    total = 0.0
    for i in (math.floor(row), math.floor(row) + 1):
        for j in (math.floor(column), math.floor(column) + 1):
            if 0 <= i < side and 0 <= j < side:
                total += mask[i, j] * (1 - abs(row - i)) * (1 - abs(column - j))
    return total


def test_pasting_onto_the_grid_of_pixels() -> None:
    boxes = [box for box in PASTE_BOXES if box[2] > box[0]]
    masks = torch.rand(len(boxes), 7, 7) * 1.4
    got = paste_masks(masks, torch.tensor(boxes), height=90, width=120, padding=0, style="grid")
    assert got.any(dim=(1, 2)).sum() >= 6
    for mask, box, pasted in zip(masks, boxes, got, strict=True):
        box = torch.tensor(box).double().tolist()
        values = np.array(
            [
                [naive_grid_value(mask.double().numpy(), box, x, y) for x in range(120)]
                for y in range(90)
            ]
        )
        clear = np.abs(values - 0.5) > 1e-4
        assert (pasted.numpy() == (values > 0.5))[clear].all()
        assert clear.mean() > 0.999


def test_the_threshold_on_the_grid_is_inclusive() -> None:
    # A cell for each pixel, and numbers that float32 holds exactly.
    mask, box = torch.full((1, 32, 32), 0.5), torch.tensor([[16.0, 32.0, 48.0, 64.0]])
    pasted = paste_masks(mask, box, height=90, width=120, style="grid")[0]
    assert pasted[32:64, 16:48].all()
    assert pasted.sum() == 32 * 32


@pytest.mark.parametrize("box", [[30.0, 30.0, 30.0, 50.0], [30.0, 50.0, 60.0, 50.0]])
def test_a_box_without_extent_holds_no_pixel_of_the_grid(box: list[float]) -> None:
    pasted = paste_masks(
        torch.ones(1, 28, 28), torch.tensor([box]), height=90, width=120, style="grid"
    )
    assert not pasted.any()


def test_nothing_to_paste() -> None:
    got = paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), height=9, width=12)
    assert got.shape == (0, 9, 12)
    assert got.dtype == torch.bool
