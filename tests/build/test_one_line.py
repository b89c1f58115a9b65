"""Detectors in one line: the right network, and weights where they are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from maskrcnn_benchmark import FasterRCNN, KeypointRCNN, MaskRCNN, RetinaNet
from maskrcnn_benchmark.build import one_line
from maskrcnn_benchmark.errors import ConfigError

THIN = {
    "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 32,
    "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 16,
    "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM": 32,
    "MODEL.ROI_MASK_HEAD.CONV_LAYERS": (16, 16),
    "MODEL.ROI_KEYPOINT_HEAD.CONV_LAYERS": (16, 16),
}


def make(factory: Any, **arguments: Any) -> Any:
    return factory(settings={**THIN, **arguments.pop("settings", {})}, **arguments)


def test_each_is_what_it_is_called() -> None:
    model = make(FasterRCNN, num_classes=4)
    assert (model.with_masks, model.with_keypoints) == (False, False)
    assert model.roi_heads.box.predictor.cls_score.out_features == 4
    model = make(MaskRCNN, num_classes=4)
    assert model.with_masks
    assert model.roi_heads.mask.predictor.mask_fcn_logits.out_channels == 4
    model = make(KeypointRCNN, num_keypoints=5)
    assert model.with_keypoints
    assert model.roi_heads.keypoint.predictor.kps_score_lowres.out_channels == 5
    assert make(RetinaNet, num_classes=4).rpn.head.cls_logits.out_channels == 9 * 3


def test_settings_and_the_config_behind_it() -> None:
    model = make(MaskRCNN, num_classes=4, settings={"MODEL.ROI_HEADS.DETECTIONS_PER_IMG": 7})
    assert model.roi_heads.box.post_processor.max_detections == 7
    assert model.cfg.MODEL.ROI_HEADS.DETECTIONS_PER_IMG == 7
    assert model.cfg.is_frozen()
    assert model.training


@pytest.mark.parametrize(
    ("backbone", "groups", "blocks"),
    [("R-50-FPN", 1, 6), ("R-101-FPN", 1, 23), ("X-101-32x8d-FPN", 32, 23)],
)
def test_backbones_by_name(backbone: str, groups: int, blocks: int) -> None:
    with torch.device("meta"):
        model: Any = FasterRCNN(num_classes=3, backbone=backbone)
    layer = model.backbone.body.layer3
    assert len(layer) == blocks
    assert layer[1].conv2.groups == groups


def test_a_c4_backbone() -> None:
    with torch.device("meta"):
        model: Any = MaskRCNN(num_classes=3, backbone="R-50-C4")
    assert model.backbone.strides == (16,)
    assert model.roi_heads.share_box_features


def test_weights_from_a_file_with_other_classes(tmp_path: Path) -> None:
    trained = make(MaskRCNN, num_classes=6)
    torch.save({"model": trained.state_dict()}, tmp_path / "trained.pth")
    model = make(MaskRCNN, num_classes=3, pretrained=str(tmp_path / "trained.pth"))
    assert torch.equal(model.rpn.head.conv.weight, trained.rpn.head.conv.weight)
    assert model.roi_heads.box.predictor.cls_score.out_features == 3


@pytest.mark.parametrize(
    ("task", "backbone", "kind", "name"),
    [
        ("mask", "R-50-FPN", "imagenet", "catalog://ImageNetPretrained/MSRA/R-50"),
        (
            "faster",
            "X-101-32x8d-FPN",
            "imagenet",
            "catalog://ImageNetPretrained/FAIR/20171220/X-101-32x8d",
        ),
        (
            "mask",
            "R-50-FPN",
            "coco",
            "catalog://Caffe2Detectron/COCO/35858933/e2e_mask_rcnn_R-50-FPN_1x",
        ),
        (
            "keypoint",
            "R-50-FPN",
            "coco",
            "catalog://Caffe2Detectron/COCO/37697547/e2e_keypoint_rcnn_R-50-FPN_1x",
        ),
    ],
)
def test_what_published_weights_are_meant(task: str, backbone: str, kind: str, name: str) -> None:
    assert one_line._find_weights(task, backbone, kind) == name


@pytest.mark.parametrize(
    ("factory", "arguments", "message"),
    [
        (MaskRCNN, {"backbone": "resnet50"}, "ends with C4 or FPN"),
        (RetinaNet, {"backbone": "R-50-C4"}, "ends with FPN"),
        (KeypointRCNN, {"backbone": "R-50-C4"}, "needs a pyramid"),
        (MaskRCNN, {"pretrained": "imagenet", "backbone": "R-34-FPN"}, "no published weights"),
        (RetinaNet, {"pretrained": "coco"}, "no published weights"),
    ],
)
def test_wrong_words_are_named(factory: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        factory(num_classes=3, **arguments)


def test_the_package_loads_them_only_when_asked() -> None:
    import maskrcnn_benchmark

    with pytest.raises(AttributeError, match="no attribute 'YOLO'"):
        maskrcnn_benchmark.YOLO  # noqa: B018


def test_pretrained_is_a_name_or_a_file() -> None:
    with pytest.raises(ConfigError, match=r"pretrained: expected None, 'imagenet', 'coco'.*True"):
        make(FasterRCNN, num_classes=4, pretrained=True)
