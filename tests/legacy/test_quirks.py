"""The old project's quirks: which are kept and which are mended, as docs/migrating.md says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from maskrcnn_benchmark.config import cfg as global_cfg
from maskrcnn_benchmark.errors import CheckpointError, ConfigError
from maskrcnn_benchmark.layers import DFConv2d
from maskrcnn_benchmark.modeling.backbone import build_backbone
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.rpn.rpn import build_rpn
from maskrcnn_benchmark.structures.bounding_box import FLIP_TOP_BOTTOM, BoxList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from maskrcnn_benchmark.utils.miscellaneous import save_labels
from maskrcnn_benchmark.utils.model_serialization import load_state_dict
from tests.legacy.thin_configs import batch, maps, thin_config
from tests.thin_models import make_images, make_target


def test_the_vertical_flip_of_boxes_and_masks_agrees() -> None:
    boxes = BoxList([[2, 1, 5, 3]], (20, 10))
    boxes.add_field(
        "masks", SegmentationMask(torch.zeros(1, 10, 20, dtype=torch.uint8), (20, 10), "mask")
    )
    boxes.get_field("masks").instances.masks[0, 1:4, 2:6] = 1
    flipped = boxes.transpose(FLIP_TOP_BOTTOM)
    assert flipped.bbox.tolist() == [[2, 6, 5, 8]]
    rows = flipped.get_field("masks").get_mask_tensor().nonzero()[:, -2]
    assert (int(rows.min()), int(rows.max())) == (6, 8)


def test_clipping_leaves_the_given_tensor_alone() -> None:
    tensor = torch.tensor([[-5.0, 0.0, 250.0, 20.0]])
    assert BoxList(tensor, (200, 100)).clip_to_image().bbox[0, 2] == 199
    assert tensor[0].tolist() == [-5, 0, 250, 20]


def test_short_polygons_keep_masks_and_boxes_in_step() -> None:
    masks = SegmentationMask([[[1, 1, 5, 5]], [[0, 0, 8, 0, 8, 8, 0, 8]]], (20, 10))
    assert len(masks) == 2
    assert masks[0].get_mask_tensor().sum() == 0
    assert masks[1].get_mask_tensor().sum() == 64
    # A crop without width can be resized.
    assert masks.crop([3, 2, 3, 6]).resize((14, 14)).get_mask_tensor().shape == (2, 14, 14)


def test_binary_masks_resize_as_ever() -> None:
    thin = torch.zeros(1, 4, 8)
    thin[0, :, 3] = 1
    grown = SegmentationMask(thin.bool(), (8, 4), "mask").resize((16, 8)).get_mask_tensor()
    shrunk = (
        SegmentationMask(thin.to(torch.uint8), (8, 4), "mask").resize((16, 8)).get_mask_tensor()
    )
    assert grown.sum() == 4 * 8
    assert shrunk.sum() == 0


def test_detections_come_best_first_and_never_more_than_asked_for() -> None:
    cfg = thin_config("faster", **{"MODEL.ROI_HEADS.DETECTIONS_PER_IMG": 7})
    model = build_detection_model(cfg).eval()
    for layer in (model.roi_heads.box.predictor.cls_score, model.roi_heads.box.predictor.bbox_pred):
        torch.nn.init.zeros_(layer.weight)  # every score ties
    with torch.no_grad():
        (found,) = model(make_images((64, 96)))
    assert len(found) == 7
    scores = found.get_field("scores")
    assert torch.equal(scores, scores.sort(descending=True).values)


def test_suffixes_of_weights_begin_after_a_dot() -> None:
    model = torch.nn.Module()
    model.xconv1 = torch.nn.Linear(2, 2)
    before = model.xconv1.weight.clone()
    with pytest.raises(CheckpointError):
        load_state_dict(model, {"conv1.weight": torch.ones(2, 2), "conv1.bias": torch.ones(2)})
    assert torch.equal(model.xconv1.weight, before)


def test_cell_anchors_travel_in_checkpoints() -> None:
    names = build_rpn(thin_config("mask"), 16).state_dict()
    assert {f"anchor_generator.cell_anchors.{level}" for level in range(5)} <= set(names)


def test_deformable_convolutions() -> None:
    """Offsets start random as ever; several groups and empty batches work."""
    torch.manual_seed(0)
    assert DFConv2d(4, 4).offset.weight.any()
    conv = DFConv2d(4, 4, deformable_groups=2)
    assert conv.offset.weight.shape[0] == 54
    assert conv(torch.rand(1, 4, 6, 6)).isfinite().all()
    assert conv(torch.rand(0, 4, 6, 6)).shape == (0, 4, 6, 6)


def test_images_without_boxes_train() -> None:
    model = build_detection_model(thin_config("mask"))
    losses = model(make_images((64, 96)), [make_target(64, 96, count=0)])
    assert all(value.isfinite() for value in losses.values())
    assert losses["loss_mask"] == 0
    sum(losses.values()).backward()


def test_group_norms_of_a_model_are_those_of_its_own_config() -> None:
    assert global_cfg.MODEL.GROUP_NORM.NUM_GROUPS == 32
    keys = {"MODEL.GROUP_NORM.NUM_GROUPS": 4, "MODEL.FPN.USE_GN": True}
    backbone = build_backbone(thin_config("mask", **keys))
    norms = [m for m in backbone.fpn.modules() if isinstance(m, torch.nn.GroupNorm)]
    assert {norm.num_groups for norm in norms} == {4}


def test_pasting_in_the_network_is_refused() -> None:
    cfg = thin_config("mask", **{"MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS": True})
    with pytest.raises(ConfigError, match="POSTPROCESS_MASKS"):
        build_detection_model(cfg)


def test_labels_of_several_sets_are_written(tmp_path: Path) -> None:
    class Named:
        def __init__(self, categories: dict[int, str]) -> None:
            self.categories = categories

    class Joined:
        datasets = (Named({1: "fig"}), Named({2: "nut"}))

    save_labels([Joined()], tmp_path)
    assert json.loads((tmp_path / "labels.json").read_text()) == {"1": "fig", "2": "nut"}


def test_a_plain_list_of_images_is_padded() -> None:
    model = build_detection_model(thin_config("mask")).eval()
    with torch.no_grad():
        found = model([torch.rand(3, 50, 71), torch.rand(3, 33, 40)])
    assert [tuple(each.size) for each in found] == [(71, 50), (40, 33)]


def test_a_target_that_overlaps_nothing_makes_anchors_positive() -> None:
    """Kept: it moves a trained model's numbers."""
    cfg = thin_config(
        "mask", **{"MODEL.RPN.BATCH_SIZE_PER_IMAGE": 4096, "MODEL.RPN.POSITIVE_FRACTION": 1.0}
    )
    images, _ = batch()
    features = maps(cfg, images)
    module = build_rpn(cfg, 16)
    far: Any = BoxList([[900, 900, 920, 920]], (96, 64))
    far.add_field("labels", torch.tensor([1]))
    _, losses = module(images, features, [far, far])
    assert losses["loss_rpn_box_reg"] > 0
