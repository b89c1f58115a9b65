"""Inclusive targets become continuous: the same pixels, whatever is done to the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.build.data import build_transforms
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.data.transforms.continuous import ToContinuous, mirror_continuous
from maskrcnn_benchmark.results.keypoints import FoundKeypoints
from maskrcnn_benchmark.structures.bounding_box import FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM, BoxList
from maskrcnn_benchmark.structures.keypoint import Keypoints, KeypointSchema
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

SIZE = (20, 10)
# Pixels 3..6 by 2..4, of which each covers one unit.
PIXELS = BoxList([[3, 2, 6, 4]], SIZE)
OUTLINE = [[[3.0, 2, 7, 2, 7, 5, 3, 5]]]


def make_target(mode: str = "poly") -> BoxList:
    target = PIXELS.copy_with_fields([])
    target.add_field("labels", torch.tensor([1]))
    target.sample_seed = 5
    masks = SegmentationMask(OUTLINE, SIZE)
    target.add_field("masks", masks if mode == "poly" else masks.convert("mask"))
    return target


def outline_of(target: BoxList) -> list[float]:
    return target.get_field("masks").instances.polygons[0].polygons[0].tolist()


def test_boxes_end_at_the_edge_of_their_last_pixel() -> None:
    image = object()
    same, target = ToContinuous()(image, make_target())
    assert same is image
    assert target.bbox.tolist() == [[3, 2, 7, 5]]
    assert outline_of(target) == OUTLINE[0][0]
    assert target.fields() == ["labels", "masks"]
    assert target.sample_seed == 5
    assert PIXELS.bbox.tolist() == [[3, 2, 6, 4]]


def test_boxes_given_by_their_size() -> None:
    _, target = ToContinuous()(None, PIXELS.convert("xywh"))
    assert target.convert("xyxy").bbox.tolist() == [[3, 2, 7, 5]]


def test_without_a_target() -> None:
    assert ToContinuous()("image") == ("image", None)


@pytest.mark.parametrize(
    ("method", "box"), [(FLIP_LEFT_RIGHT, [13, 2, 17, 5]), (FLIP_TOP_BOTTOM, [3, 5, 7, 8])]
)
def test_mirrored(method: int, box: list[int]) -> None:
    _, target = ToContinuous()(None, make_target())
    flipped = mirror_continuous(target, method)
    assert flipped.bbox.tolist() == [box]
    points = np.array(outline_of(flipped)).reshape(-1, 2)
    assert [*points.min(axis=0), *points.max(axis=0)] == box
    again = mirror_continuous(flipped, method)
    assert again.bbox.tolist() == target.bbox.tolist()
    assert outline_of(again) == outline_of(target)
    assert outline_of(target) == OUTLINE[0][0], "what was mirrored stays as it was"


def test_bitmaps_are_mirrored_pixel_by_pixel() -> None:
    _, target = ToContinuous()(None, make_target("mask"))
    before = target.get_field("masks").get_mask_tensor()
    after = mirror_continuous(target, FLIP_LEFT_RIGHT).get_field("masks").get_mask_tensor()
    assert torch.equal(after, before.flip(-1))


@pytest.mark.parametrize("method", [FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM])
@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_keypoints_name_the_same_pixels(method: int, offset: float) -> None:
    target = make_target()
    schema = KeypointSchema(names=("left_hand", "right_hand", "nose"))
    points = torch.tensor([[[3.0, 2, 2], [6.0, 4, 1], [0, 0, 0]]])
    target.add_field("keypoints", Keypoints(points, SIZE, schema=schema))
    _, moved = ToContinuous(keypoint_offset=offset)(None, target)
    shift = torch.tensor([offset, offset, 0.0])
    assert torch.equal(moved.get_field("keypoints").keypoints, points + shift)
    assert torch.equal(target.get_field("keypoints").keypoints, points)
    flipped = mirror_continuous(moved, method, keypoint_offset=offset).get_field("keypoints")
    # The mirror of the pixels themselves.
    expected = target.transpose(method).get_field("keypoints").keypoints
    seen = expected[..., 2] > 0
    assert torch.equal(flipped.keypoints[seen], (expected + shift)[seen])
    assert not flipped.keypoints[~seen].any()


def test_pixels_again_in_the_results() -> None:
    points = torch.tensor([[[3.5, 2.5, 1.0]]])
    found = FoundKeypoints.from_field(Keypoints(points, SIZE), offset=0.5)
    assert found.points.tolist() == [[[3.0, 2.0, 1.0]]]


@pytest.mark.parametrize("numerics", ["detectron", "detectron2", "torchvision", "mmdet"])
def test_the_box_stays_around_its_pixels(numerics: str) -> None:
    """A white rectangle, doubled and mirrored both ways."""
    cfg = get_defaults()
    cfg.merge_from_list(
        [
            "MODEL.NUMERICS", numerics,
            "INPUT.MIN_SIZE_TRAIN", (20,),
            "INPUT.HORIZONTAL_FLIP_PROB_TRAIN", 1.0,
            "INPUT.VERTICAL_FLIP_PROB_TRAIN", 1.0,
            "INPUT.PIXEL_MEAN", (0.0, 0.0, 0.0),
        ]
    )  # fmt: skip
    pixels = np.zeros((10, 20, 3), dtype=np.uint8)
    pixels[2:5, 3:7] = 255
    image, target = build_transforms(cfg)(Image.fromarray(pixels), make_target())
    assert image.shape[-2:] == (20, 40)
    rows, columns = (image[0] > 128).nonzero().T
    edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    if numerics == "detectron":
        # Inclusive: scaled as if the corners were points, a pixel of the old size is missing.
        assert target.bbox.tolist() == [[27, 11, 33, 15]]
    else:
        assert target.bbox[0].tolist() == [float(edge) for edge in edges]
        assert edges == [26, 10, 34, 16]
