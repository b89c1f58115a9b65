import json

import numpy as np
import pytest
import torch

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.masks import decode_mask, encode_mask
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from maskrcnn_benchmark.structures.sizes import HeightWidth

NAMES = ("__background__", "cat", "dog")


def make_detections(**changes: object) -> Detections:
    masks = np.zeros((3, 20, 30), dtype=bool)
    masks[0, 2:5, 3:9] = True
    masks[1, 10:12, 20:25] = True
    fields: dict[str, object] = {
        "image_size": HeightWidth(20, 30),
        "boxes": [[3, 2, 8, 4], [20, 10, 24, 11], [0, 0, 29, 19]],
        "scores": [0.5, 0.9, 0.7],
        "labels": [1, 2, 1],
        "class_names": NAMES,
        "masks": [encode_mask(mask) for mask in masks],
        "image_id": 7,
    }
    return Detections(**(fields | changes))  # type: ignore[arg-type]


def test_parts_get_their_types() -> None:
    found = make_detections()
    assert (found.boxes.dtype, found.scores.dtype, found.labels.dtype) == (
        np.float32,
        np.float32,
        np.int64,
    )
    assert found.names == ["cat", "dog", "cat"]
    assert repr(found) == "Detections(3 in 30x20: cat 0.50, dog 0.90, cat 0.70)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes": np.zeros((3, 5))}, r"\(N, 4\), got \(3, 5\)"),
        ({"scores": [0.5]}, r"scores must have shape \(3,\)"),
        ({"labels": [1, 2, 3]}, "between 0 and 2.* got 1 to 3"),
        ({"masks": []}, "one mask for each of 3 boxes, got 0"),
        ({"image_size": HeightWidth(30, 20)}, r"mask 0 has size \(20, 30\), the image \(30, 20\)"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        make_detections(**changes)


@pytest.mark.parametrize("index", [1, [1], slice(1, 2), np.array([False, True, False])])
def test_selection_keeps_the_parts_together(index: object) -> None:
    chosen = make_detections()[index]  # type: ignore[index]
    assert len(chosen) == 1
    assert chosen.names == ["dog"]
    assert chosen.boxes.tolist() == [[20, 10, 24, 11]]
    assert chosen.dense_masks().sum() == 10
    assert chosen.image_id == 7


def test_filter_is_strict_and_keeps_the_order() -> None:
    found = make_detections()
    assert found.filter(0.5).scores.tolist() == pytest.approx([0.9, 0.7])
    assert len(found.filter(0.95)) == 0
    assert found.filter(0.95).dense_masks().shape == (0, 20, 30)
    assert found.sorted().scores.tolist() == pytest.approx([0.9, 0.7, 0.5])


def test_no_masks_to_look_at() -> None:
    with pytest.raises(ShapeError, match="no masks"):
        make_detections(masks=None).dense_masks()


def test_coco_widths_follow_the_box_convention() -> None:
    inclusive = make_detections().to_coco({1: 17, 2: 18})
    assert inclusive[0]["bbox"] == [3, 2, 6, 3]
    assert [entry["category_id"] for entry in inclusive] == [17, 18, 17]
    assert {entry["image_id"] for entry in inclusive} == {7}
    continuous = make_detections(box_offset=0.0, masks=None).to_coco(image_id="a")
    assert continuous[0] == {
        "image_id": "a",
        "category_id": 1,
        "bbox": [3, 2, 5, 2],
        "score": 0.5,
    }


def test_json_holds_everything() -> None:
    content = json.loads(make_detections(path="a.jpg").to_json())
    assert content["names"] == ["cat", "dog", "cat"]
    assert (content["height"], content["width"], content["path"]) == (20, 30, "a.jpg")
    again = Detections(
        image_size=HeightWidth(content["height"], content["width"]),
        **{name: content[name] for name in ("boxes", "scores", "labels", "class_names", "masks")},
    )
    np.testing.assert_array_equal(again.dense_masks(), make_detections().dense_masks())


def network_boxes() -> BoxList:
    boxlist = BoxList(torch.tensor([[10.0, 20, 50, 60], [0, 0, 99, 79]]), (100, 80))
    boxlist.add_field("scores", torch.tensor([0.25, 0.75]))
    boxlist.add_field("labels", torch.tensor([2, 1]))
    return boxlist


def test_boxes_come_back_to_original_pixels() -> None:
    found = Detections.from_boxlist(
        network_boxes(), image_size=HeightWidth(160, 50), class_names=NAMES
    )
    np.testing.assert_allclose(found.boxes, [[5, 40, 25, 120], [0, 0, 49.5, 158]])
    assert found.names == ["dog", "cat"]
    assert found.masks is None


def test_masks_are_pasted_in_original_pixels() -> None:
    boxlist = network_boxes()
    boxlist.add_field("mask", torch.ones(2, 1, 28, 28))
    found = Detections.from_boxlist(boxlist, image_size=HeightWidth(160, 50), class_names=NAMES)
    mask = found.dense_masks()[0]
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert abs(rows[0] - 40) <= 1
    assert abs(rows[-1] - 120) <= 1
    assert abs(columns[0] - 5) <= 1
    assert abs(columns[-1] - 25) <= 1


def test_an_image_without_detections() -> None:
    boxlist = BoxList(torch.zeros(0, 4), (100, 80))
    boxlist.add_field("scores", torch.zeros(0))
    boxlist.add_field("labels", torch.zeros(0, dtype=torch.int64))
    boxlist.add_field("mask", torch.zeros(0, 1, 28, 28))
    found = Detections.from_boxlist(boxlist, image_size=HeightWidth(40, 50), class_names=NAMES)
    assert len(found) == 0
    assert found.to_coco() == []
    assert found.dense_masks().shape == (0, 40, 50)
    assert repr(found) == "Detections(0 in 50x40)"


def test_proposals_become_objects_of_one_class() -> None:
    boxlist = BoxList(torch.tensor([[0.0, 0, 9, 9]]), (20, 20))
    boxlist.add_field("objectness", torch.tensor([0.5]))
    found = Detections.from_boxlist(boxlist, image_size=HeightWidth(20, 20), class_names=NAMES)
    assert found.names == ["object"]
    assert found.scores.tolist() == [0.5]


def test_half_precision_scores_are_read() -> None:
    boxlist = network_boxes()
    boxlist.add_field("scores", torch.tensor([0.25, 0.75], dtype=torch.bfloat16))
    found = Detections.from_boxlist(boxlist, image_size=HeightWidth(80, 100), class_names=NAMES)
    assert found.scores.tolist() == [0.25, 0.75]


def test_targets_are_certain() -> None:
    targets = BoxList(torch.tensor([[2.0, 2, 13, 9]]), (20, 16))
    targets.add_field("labels", torch.tensor([2]))
    targets.add_field(
        "masks", SegmentationMask([[[2.0, 2, 14, 2, 14, 10, 2, 10]]], (20, 16), mode="poly")
    )
    found = Detections.from_targets(targets, class_names=NAMES)
    assert found.image_size == HeightWidth(16, 20)
    assert found.scores.tolist() == [1.0]
    assert found.masks is not None
    assert decode_mask(found.masks[0]).sum() == 12 * 8
    doubled = Detections.from_targets(targets, class_names=NAMES, image_size=HeightWidth(32, 40))
    assert doubled.boxes.tolist() == [[4, 4, 26, 18]]
    assert doubled.dense_masks().sum() == 24 * 16


@pytest.mark.shared_data
@pytest.mark.parametrize("case", ["mask_rcnn_R_50_FPN", "mask_rcnn_R_50_C4"])
@pytest.mark.parametrize("prefix", ["im0", "im1", "b0", "b1"])
def test_recorded_network_output_gives_the_recorded_results(
    shared: object, case: str, prefix: str
) -> None:
    with np.load(f"{shared}/reference/goldens/{case}/inference.npz") as file:
        recorded = {
            name[len(prefix) + 1 :]: file[name]
            for name in file.files
            if name.startswith(f"{prefix}_")
        }
    boxlist = BoxList(torch.from_numpy(recorded["boxes"]), recorded["size_wh"].tolist())
    for name in ("scores", "labels", "mask"):
        boxlist.add_field(name, torch.from_numpy(recorded[name]))
    shape = tuple(recorded["orig_masks_shape"].tolist())
    found = Detections.from_boxlist(
        boxlist,
        image_size=HeightWidth(*shape[-2:]),
        class_names=[str(label) for label in range(11)],
    )
    np.testing.assert_allclose(found.boxes, recorded["orig_boxes"], atol=1e-4)
    expected = np.unpackbits(recorded["orig_masks_packed"])[: np.prod(shape)].reshape(shape)
    np.testing.assert_array_equal(found.dense_masks()[:, None], expected.astype(bool))
    assert expected.any()
