import pytest
import torch

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxlist_ops import (
    boxlist_iou,
    boxlist_nms,
    cat_boxlist,
    remove_small_boxes,
)
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask


@pytest.fixture
def scored() -> BoxList:
    boxes = [
        [10, 10, 50, 60],
        [11, 12, 48, 60],
        [8, 9, 40, 50],
        [100, 100, 150, 140],
        [99, 110, 155, 139],
    ]
    result = BoxList(boxes, (200, 200))
    result.add_field("scores", torch.tensor([0.5, 0.7, 0.6, 0.9, 0.8]))
    result.sample_seed = 5
    return result


@pytest.mark.parametrize(
    ("threshold", "kept"),
    [(0.1, [1, 3]), (0.3, [1, 3]), (0.5, [1, 3]), (0.8, [1, 2, 3, 4]), (0.9, [0, 1, 2, 3, 4])],
)
@pytest.mark.parametrize("mode", ["xyxy", "xywh"])
def test_suppression_known_from_the_old_project(scored, threshold, kept, mode):
    result = boxlist_nms(scored.convert(mode), threshold)
    assert result.mode == mode
    assert torch.equal(result.bbox, scored.convert(mode).bbox[kept])
    assert torch.equal(result.get_field("scores"), scored.get_field("scores")[kept])
    assert result.sample_seed == 5


def test_suppression_cut_and_switched_off(scored):
    first = boxlist_nms(scored, 0.8, max_proposals=2)
    assert torch.equal(first.bbox, scored.bbox[[1, 2]]), "the first in input order, not the best"
    assert boxlist_nms(scored, 0, max_proposals=1) is scored


def test_an_overlap_of_exactly_the_threshold_suppresses_on_a_cpu():
    boxes = BoxList([[0, 0, 9, 9], [0, 0, 9, 4]], (20, 20))
    boxes.add_field("rank", torch.tensor([0.9, 0.8]))
    assert len(boxlist_nms(boxes, 0.5, score_field="rank")) == 1
    assert len(boxlist_nms(boxes, 0.51, score_field="rank")) == 2


def test_overlap_counts_both_corners():
    one = BoxList([[0, 0, 9, 9], [20, 20, 29, 29]], (40, 40))
    two = BoxList([[5, 5, 10, 5], [0, 0, 10, 10], [9, 9, 18, 18]], (40, 40), mode="xywh")
    expected = [[25 / 125, 1.0, 1 / 423], [0, 0, 49 / 375]]
    assert torch.allclose(boxlist_iou(one, two), torch.tensor(expected))
    with pytest.raises(RuntimeError, match=r"\(40, 40\) and \(40, 41\)"):
        boxlist_iou(one, BoxList([[0, 0, 1, 1]], (40, 41)))


def test_small_boxes_go():
    boxes = BoxList([[0, 0, 3, 9], [0, 0, 4, 4], [0, 0, 9, 3]], (20, 20))
    boxes.add_field("labels", torch.tensor([1, 2, 3]))
    assert remove_small_boxes(boxes, 5).get_field("labels").tolist() == [2]
    assert len(remove_small_boxes(boxes, 0)) == 3


def test_concatenation_joins_boxes_and_fields(scored):
    scored.add_field("masks", SegmentationMask([[[0, 0, 4, 0, 4, 4]]] * 5, (200, 200)))
    joined = cat_boxlist([scored, scored[:2]])
    assert torch.equal(joined.bbox, torch.cat((scored.bbox, scored.bbox[:2])))
    assert len(joined.get_field("scores")) == 7
    assert len(joined.get_field("masks")) == 7
    assert joined.sample_seed == 5
    bits = [part.convert("mask") for part in (scored.get_field("masks"),) * 2]
    assert len(SegmentationMask.cat(bits)) == 10


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (BoxList(torch.zeros(1, 4), (9, 9)), "size"),
        (BoxList(torch.zeros(1, 4), (200, 200), mode="xywh"), "mode"),
        (BoxList(torch.zeros(1, 4), (200, 200)), "fields"),
    ],
)
def test_what_does_not_fit_is_not_concatenated(scored, other, what):
    with pytest.raises(ShapeError, match=f"agree in {what}.*number 1 has"):
        cat_boxlist([scored, other])


def test_nothing_to_concatenate():
    with pytest.raises(ShapeError, match="at least one"):
        cat_boxlist([])
