"""The nouns of one image, as old code uses them."""

from __future__ import annotations

import pytest
import torch

from maskrcnn_benchmark.structures.bounding_box import (
    FLIP_LEFT_RIGHT,
    FLIP_TOP_BOTTOM,
    BoxList,
)
from maskrcnn_benchmark.structures.boxlist_ops import (
    boxlist_iou,
    boxlist_nms,
    cat_boxlist,
    remove_small_boxes,
)
from maskrcnn_benchmark.structures.image_list import ImageList, to_image_list
from maskrcnn_benchmark.structures.keypoint import PersonKeypoints, keypoints_to_heat_map
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from tests.legacy.contract import contract


@contract(
    "structures.bounding_box.BoxList",
    "structures.bounding_box.FLIP_LEFT_RIGHT",
    "structures.bounding_box.FLIP_TOP_BOTTOM",
)
def test_boxlist() -> None:
    # The snippet of the old ABSTRACTIONS page.
    width, height = 200, 300
    boxes = [[0, 10, 50, 50], [50, 20, 90, 60], [10, 10, 50, 50]]
    boxlist = BoxList(boxes, image_size=(width, height), mode="xyxy")
    boxlist.add_field("labels", torch.tensor([0, 1, 1]))
    boxlist.add_field("scores", torch.tensor([0.8, 0.9, 0.7]))
    assert (len(boxlist), boxlist.size, boxlist.mode) == (3, (200, 300), "xyxy")
    assert boxlist.fields() == ["labels", "scores"]
    assert boxlist.has_field("labels")
    assert not boxlist.has_field("masks")
    assert boxlist.convert("xywh").bbox[1].tolist() == [50, 20, 41, 41]
    assert boxlist.area().tolist() == [51 * 41, 41 * 41, 41 * 41]
    resized = boxlist.resize((width * 2, height * 3))
    assert resized.bbox[1].tolist() == [100, 60, 180, 180]
    assert (FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM) == (0, 1)
    flipped = boxlist.transpose(FLIP_LEFT_RIGHT)
    assert flipped.bbox[0].tolist() == [149, 10, 199, 50]
    assert torch.equal(flipped.transpose(FLIP_LEFT_RIGHT).bbox, boxlist.bbox)
    upside_down = boxlist.transpose(FLIP_TOP_BOTTOM).transpose(FLIP_TOP_BOTTOM)
    assert torch.equal(upside_down.bbox, boxlist.bbox)
    cropped = boxlist.crop((10, 10, 60, 60))
    assert cropped.size == (50, 50)
    assert cropped.bbox[0].tolist() == [0, 0, 40, 40]
    assert boxlist[[0, 2]].get_field("scores").tolist() == pytest.approx([0.8, 0.7])
    assert boxlist.copy_with_fields(["labels"]).fields() == ["labels"]
    assert boxlist.copy_with_fields(["masks"], skip_missing=True).fields() == []
    with pytest.raises(KeyError):
        boxlist.copy_with_fields(["masks"])
    outside = BoxList([[-5, 0, 250, 20], [210, 0, 240, 20]], (200, 300))
    assert outside.clip_to_image(remove_empty=False).bbox.tolist() == [
        [0, 0, 199, 20],
        [199, 0, 199, 20],
    ]
    assert len(outside.clip_to_image()) == 1
    assert boxlist.to("cpu").get_field("labels").tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match="mode"):
        BoxList(boxes, (width, height), mode="xyz")


@contract("structures.boxlist_ops.boxlist_iou")
def test_boxlist_iou() -> None:
    one = BoxList([[0, 0, 9, 9]], (20, 20))
    two = BoxList([[0, 0, 9, 9], [5, 0, 14, 9], [15, 15, 19, 19]], (20, 20))
    assert boxlist_iou(one, two)[0].tolist() == pytest.approx([1, 50 / 150, 0])
    with pytest.raises(RuntimeError, match="same image size"):
        boxlist_iou(one, BoxList([[0, 0, 9, 9]], (30, 20)))


@contract("structures.boxlist_ops.boxlist_nms")
def test_boxlist_nms() -> None:
    boxes = BoxList([[0, 0, 9, 9], [30, 0, 39, 9], [1, 0, 9, 9]], (50, 20))
    boxes.add_field("scores", torch.tensor([0.5, 0.6, 0.9]))
    # In the order of the input, not by score.
    assert boxlist_nms(boxes, 0.5).get_field("scores").tolist() == pytest.approx([0.6, 0.9])
    assert len(boxlist_nms(boxes, 0.5, max_proposals=1)) == 1
    assert boxlist_nms(boxes, 0, max_proposals=1) is boxes
    boxes.add_field("objectness", torch.tensor([0.9, 0.6, 0.5]))
    kept = boxlist_nms(boxes, 0.5, score_field="objectness")
    assert kept.bbox[:, 0].tolist() == [0, 30]


@contract("structures.boxlist_ops.cat_boxlist")
def test_cat_boxlist() -> None:
    one = BoxList([[0, 0, 9, 9]], (20, 20))
    one.add_field("labels", torch.tensor([3]))
    two = BoxList([[1, 1, 9, 9]], (20, 20))
    two.add_field("labels", torch.tensor([4]))
    assert cat_boxlist([one, two]).get_field("labels").tolist() == [3, 4]
    two.add_field("scores", torch.tensor([0.5]))
    with pytest.raises(ValueError, match="fields"):
        cat_boxlist([one, two])


@contract("structures.boxlist_ops.remove_small_boxes")
def test_remove_small_boxes() -> None:
    boxes = BoxList([[0, 0, 9, 9], [0, 0, 9, 8]], (20, 20))
    assert len(remove_small_boxes(boxes, 10)) == 1
    assert len(remove_small_boxes(boxes, 9)) == 2


@contract("structures.image_list.ImageList", "structures.image_list.to_image_list")
def test_image_list() -> None:
    batch = to_image_list([torch.ones(3, 10, 20), torch.ones(3, 15, 12)], 32)
    assert isinstance(batch, ImageList)
    assert batch.tensors.shape == (2, 3, 32, 32)
    assert batch.image_sizes == [(10, 20), (15, 12)]
    assert batch.tensors.sum() == 3 * (200 + 180)
    assert batch.to(torch.float64).tensors.dtype == torch.float64
    assert to_image_list(batch) is batch
    assert to_image_list(torch.ones(3, 8, 9)).image_sizes == [(8, 9)]


@contract("structures.segmentation_mask.SegmentationMask")
def test_segmentation_mask() -> None:
    polygons = [[[2, 2, 12, 2, 12, 8, 2, 8]], [[0, 0, 4, 0, 4, 4, 0, 4], [6, 6, 9, 6, 9, 9, 6, 9]]]
    masks = SegmentationMask(polygons, (20, 10), mode="poly")
    assert (len(masks), masks.size, masks.mode) == (2, (20, 10), "poly")
    assert masks.get_mask_tensor().shape == (2, 10, 20)
    assert masks[0].get_mask_tensor().sum() == 60
    assert masks.crop([2, 2, 12, 8]).size == (10, 6)
    assert masks.resize((40, 20)).get_mask_tensor().shape == (2, 20, 40)
    flipped = masks.transpose(FLIP_LEFT_RIGHT)
    assert flipped.instances.polygons[0].polygons[0][::2].tolist() == [17, 7, 7, 17]
    binary = masks.convert("mask")
    assert binary.mode == "mask"
    assert torch.equal(binary.get_mask_tensor(), masks.get_mask_tensor())
    assert len([each for each in masks]) == 2
    assert masks.to("cpu").instances.polygons[1].polygons


@contract("structures.keypoint.PersonKeypoints", "structures.keypoint.keypoints_to_heat_map")
def test_person_keypoints() -> None:
    points = torch.zeros(1, 17, 3)
    points[0, 1] = torch.tensor([4.0, 6.0, 2.0])
    keypoints = PersonKeypoints(points, (20, 10))
    assert (len(keypoints), keypoints.keypoints.shape) == (1, (1, 17, 3))
    assert keypoints.NAMES[1] == "left_eye"
    assert len(keypoints.NAMES) == 17
    assert keypoints.FLIP_MAP["left_eye"] == "right_eye"
    assert len(keypoints.FLIP_INDS) == 17
    assert len(keypoints.CONNECTIONS) >= 12
    assert keypoints.resize((40, 30)).keypoints[0, 1].tolist() == [8, 18, 2]
    # Left and right change places; numerics.md 6: x becomes width - x - 1.
    assert keypoints.transpose(FLIP_LEFT_RIGHT).keypoints[0, 2].tolist() == [15, 6, 2]
    keypoints.add_field("logits", torch.ones(1, 17))
    assert keypoints[[0]].get_field("logits").shape == (1, 17)
    assert keypoints.to("cpu").get_field("logits").shape == (1, 17)

    rois = torch.tensor([[0.0, 0.0, 8.0, 12.0]])
    target, valid = keypoints_to_heat_map(points, rois, 56)
    assert (target.dtype, valid.dtype) == (torch.int64, torch.int64)
    # floor((x - x1) * S / (x2 - x1)), rows first; numerics.md 17.
    assert target[0, 1] == 28 * 56 + 28
    assert valid[0].tolist() == [0, 1] + [0] * 15
