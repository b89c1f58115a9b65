"""From a config to a network: all shipped configs, every key in its place, and wrong names named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.errors import ConfigError, DatasetError
from maskrcnn_benchmark.layers.norms import FrozenBatchNorm2d
from maskrcnn_benchmark.modeling.detector import GeneralizedRCNN, RetinaNet
from tests.thin_models import make_target

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

# Name of the config -> has heads, has masks. Those of the first release, and their twins in caffe2/.
FIRST = {
    "e2e_faster_rcnn_R_50_FPN_1x": (True, False),
    "e2e_faster_rcnn_R_101_FPN_1x": (True, False),
    "e2e_mask_rcnn_R_50_FPN_1x": (True, True),
    "e2e_mask_rcnn_R_101_FPN_1x": (True, True),
    "e2e_faster_rcnn_R_50_C4_1x": (True, False),
    "e2e_mask_rcnn_R_50_C4_1x": (True, True),
    "rpn_R_50_FPN_1x": (False, False),
    "rpn_R_50_C4_1x": (False, False),
}
WITH_TWIN = [name for name in FIRST if not name.startswith("rpn")]

ALL_CONFIGS = sorted(file.relative_to(CONFIGS).as_posix() for file in CONFIGS.rglob("*.yaml"))


FPN = "e2e_mask_rcnn_R_50_FPN_1x.yaml"
C4 = "e2e_mask_rcnn_R_50_C4_1x.yaml"
FOREIGN = "mobilenet/mask_rcnn_mobilenet_v2_FPN.yaml"
SIX_SCALES = tuple(0.25 / 2**level for level in range(6))


def load(file: str, *overrides: Any) -> Config:
    cfg = get_defaults()
    cfg.merge_from_file(str(CONFIGS / file))
    cfg.merge_from_list(list(overrides))
    return cfg


def build(file: str, *overrides: Any) -> Any:
    """Without memory for the weights; Any, because the tests look into all parts."""
    with torch.device("meta"):
        return build_model(load(file, *overrides))


def shapes(model: nn.Module) -> list[tuple[int, ...]]:
    """Of all weights of convolutions and linear layers, in no order."""
    return sorted(tuple(p.shape) for p in model.parameters() if p.dim() > 1)


@pytest.mark.parametrize(
    "file", [f"{name}.yaml" for name in FIRST] + [f"caffe2/{n}_caffe2.yaml" for n in WITH_TWIN]
)
def test_configs_of_the_first_release_build(file: str) -> None:
    model = build(file)
    with_heads, with_masks = FIRST[Path(file).stem.removesuffix("_caffe2")]
    assert isinstance(model, GeneralizedRCNN)
    assert (model.roi_heads is not None) == with_heads
    assert model.with_masks == with_masks
    levels = 5 if "FPN" in file else 1
    assert len(model.rpn.anchor_generator.strides) == levels
    assert len(model.backbone.strides) == levels
    assert (101 if "101" in file else 50) == (50 if len(model.backbone.body.layer3) == 6 else 101)
    assert model.size_divisible == (32 if levels == 5 else 0)


@pytest.mark.parametrize("file", ALL_CONFIGS)
def test_a_shipped_config_builds(file: str) -> None:
    assert isinstance(build(file), RetinaNet if "retinanet" in file else GeneralizedRCNN)


def test_layers_are_those_of_torchvisions_mask_rcnn() -> None:
    with torch.device("meta"):
        reference = torchvision.models.detection.maskrcnn_resnet50_fpn(
            weights=None, weights_backbone=None, num_classes=81
        )
    assert shapes(build(FPN)) == shapes(reference)


@pytest.mark.parametrize(
    ("body", "depth", "channels"),
    [("R-18-C4", 18, 256), ("R-34-C4", 34, 256), ("R-50-C4", 50, 1024), ("R-101-C4", 101, 1024)],
)
def test_bodies_without_a_pyramid(body: str, depth: int, channels: int) -> None:
    model = build(
        C4, "MODEL.BACKBONE.CONV_BODY", body, "MODEL.RESNETS.BACKBONE_OUT_CHANNELS", channels
    )
    with torch.device("meta"):
        reference = getattr(torchvision.models, f"resnet{depth}")()
    kept = [reference.conv1, reference.layer1, reference.layer2, reference.layer3]
    assert shapes(model.backbone) == sorted(s for part in kept for s in shapes(part))
    # The head is the last stage; of three blocks whatever the body.
    head = model.roi_heads.box.feature_extractor.head
    assert len(head.layer4) == (2 if depth == 18 else 3)
    assert model.roi_heads.box.predictor.cls_score.in_features == 2 * channels


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_bodies_with_a_pyramid(depth: int) -> None:
    model = build(FPN, "MODEL.BACKBONE.CONV_BODY", f"R-{depth}-FPN")
    with torch.device("meta"):
        reference = getattr(torchvision.models, f"resnet{depth}")()
    reference.fc = nn.Identity()
    assert shapes(model.backbone.body) == shapes(reference)
    assert model.backbone.out_channels == 256


def norms_of(model: Any) -> set[str]:
    kinds = (FrozenBatchNorm2d, nn.BatchNorm2d, nn.GroupNorm, nn.SyncBatchNorm)
    return {type(m).__name__ for m in model.modules() if isinstance(m, kinds)}


@pytest.mark.parametrize(
    ("suffix", "name"),
    [
        ("WithFixedBatchNorm", "FrozenBatchNorm2d"),
        ("WithBatchNorm", "BatchNorm2d"),
        ("WithSyncBatchNorm", "SyncBatchNorm"),
        ("WithGN", "GroupNorm"),
    ],
)
def test_norms(suffix: str, name: str) -> None:
    keys = ("MODEL.RESNETS.TRANS_FUNC", f"Bottleneck{suffix}", "MODEL.RESNETS.STEM_FUNC")
    assert norms_of(build(C4, *keys, f"Stem{suffix}")) == {name}
    short = {"FrozenBatchNorm2d": "FrozenBN", "BatchNorm2d": "BN", "SyncBatchNorm": "SyncBN"}
    override = ("MODEL.RESNETS.NORM", short.get(name, "GN"))
    assert norms_of(build(C4, *override)) == {name}


def test_group_norm_in_neck_and_heads() -> None:
    model = build("gn_baselines/e2e_mask_rcnn_R_50_FPN_1x_gn.yaml")
    assert norms_of(model) == {"GroupNorm"}
    assert all(m.num_groups == 32 for m in model.modules() if isinstance(m, nn.GroupNorm))
    model = build(
        "gn_baselines/e2e_mask_rcnn_R_50_FPN_1x_gn.yaml",
        *("MODEL.GROUP_NORM.NUM_GROUPS", -1, "MODEL.GROUP_NORM.DIM_PER_GP", 16),
        *("MODEL.GROUP_NORM.EPSILON", 1e-3),
    )
    assert model.backbone.fpn.fpn_inner1[1].num_groups == 256 // 16
    assert model.roi_heads.box.feature_extractor.fc6[1].num_groups == 1024 // 16
    assert model.roi_heads.mask.feature_extractor.mask_fcn1[1].num_groups == 256 // 16
    assert model.backbone.fpn.fpn_inner1[1].eps == 1e-3


# key, value, and where it must arrive; each value is no default and in no config used here.
PLACES: list[tuple[str, Any, Callable[[Any], Any]]] = [
    ("MODEL.RPN.FG_IOU_THRESHOLD", 0.61, lambda m: m.rpn.loss.fg_iou_threshold),
    ("MODEL.RPN.BG_IOU_THRESHOLD", 0.21, lambda m: m.rpn.loss.bg_iou_threshold),
    ("MODEL.RPN.BATCH_SIZE_PER_IMAGE", 77, lambda m: m.rpn.loss.batch_size_per_image),
    ("MODEL.RPN.POSITIVE_FRACTION", 0.31, lambda m: m.rpn.loss.positive_fraction),
    ("MODEL.RPN.NMS_THRESH", 0.55, lambda m: m.rpn.nms_threshold),
    ("MODEL.RPN.MIN_SIZE", 3, lambda m: m.rpn.min_size),
    ("MODEL.RPN.STRADDLE_THRESH", -1, lambda m: m.rpn.anchor_generator.straddle_threshold),
    ("MODEL.RPN.PRE_NMS_TOP_N_TRAIN", 1999, lambda m: m.rpn.train_limits.pre_nms),
    ("MODEL.RPN.POST_NMS_TOP_N_TRAIN", 1998, lambda m: m.rpn.train_limits.post_nms),
    ("MODEL.RPN.FPN_POST_NMS_TOP_N_TRAIN", 1997, lambda m: m.rpn.train_limits.total),
    ("MODEL.RPN.FPN_POST_NMS_PER_BATCH", False, lambda m: m.rpn.train_limits.per_batch),
    ("MODEL.RPN.PRE_NMS_TOP_N_TEST", 999, lambda m: m.rpn.test_limits.pre_nms),
    ("MODEL.RPN.POST_NMS_TOP_N_TEST", 998, lambda m: m.rpn.test_limits.post_nms),
    ("MODEL.RPN.FPN_POST_NMS_TOP_N_TEST", 997, lambda m: m.rpn.test_limits.total),
    ("MODEL.RPN.ASPECT_RATIOS", (1.0,), lambda m: (m.rpn.head.cls_logits.out_channels,)),
    ("MODEL.ROI_HEADS.FG_IOU_THRESHOLD", 0.62, lambda m: m.roi_heads.box.sampler.fg_iou_threshold),
    ("MODEL.ROI_HEADS.BG_IOU_THRESHOLD", 0.42, lambda m: m.roi_heads.box.sampler.bg_iou_threshold),
    (
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE",
        55,
        lambda m: m.roi_heads.box.sampler.batch_size_per_image,
    ),
    ("MODEL.ROI_HEADS.POSITIVE_FRACTION", 0.3, lambda m: m.roi_heads.box.sampler.positive_fraction),
    (
        "MODEL.ROI_HEADS.SCORE_THRESH",
        0.07,
        lambda m: m.roi_heads.box.post_processor.score_threshold,
    ),
    ("MODEL.ROI_HEADS.NMS", 0.45, lambda m: m.roi_heads.box.post_processor.nms_threshold),
    (
        "MODEL.ROI_HEADS.DETECTIONS_PER_IMG",
        33,
        lambda m: m.roi_heads.box.post_processor.max_detections,
    ),
    (
        "MODEL.ROI_HEADS.BBOX_REG_WEIGHTS",
        (1.0, 2.0, 3.0, 4.0),
        lambda m: m.roi_heads.box.post_processor.delta_weights,
    ),
    (
        "MODEL.ROI_HEADS.BBOX_REG_WEIGHTS",
        (1.0, 2.0, 3.0, 4.0),
        lambda m: m.roi_heads.box.delta_weights,
    ),
    (
        "MODEL.ROI_BOX_HEAD.NUM_CLASSES",
        9,
        lambda m: m.roi_heads.box.predictor.cls_score.out_features,
    ),
    (
        "MODEL.ROI_BOX_HEAD.NUM_CLASSES",
        9,
        lambda m: m.roi_heads.mask.predictor.mask_fcn_logits.out_channels,
    ),
    (
        "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION",
        5,
        lambda m: m.roi_heads.box.feature_extractor.pooler.output_size,
    ),
    (
        "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO",
        3,
        lambda m: m.roi_heads.box.feature_extractor.pooler.sampling_ratio,
    ),
    (
        "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM",
        96,
        lambda m: m.roi_heads.box.feature_extractor.fc7.out_features,
    ),
    (
        "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO",
        3,
        lambda m: m.roi_heads.mask.feature_extractor.pooler.sampling_ratio,
    ),
    (
        "MODEL.ROI_MASK_HEAD.CONV_LAYERS",
        (24, 48),
        lambda m: (
            m.roi_heads.mask.feature_extractor.mask_fcn1.out_channels,
            m.roi_heads.mask.feature_extractor.mask_fcn2.out_channels,
        ),
    ),
    (
        "MODEL.ROI_MASK_HEAD.DILATION",
        2,
        lambda m: m.roi_heads.mask.feature_extractor.mask_fcn1.dilation[0],
    ),
    ("MODEL.RESNETS.STEM_OUT_CHANNELS", 40, lambda m: m.backbone.body.stem.conv1.out_channels),
    (
        "MODEL.RESNETS.WIDTH_PER_GROUP",
        24,
        lambda m: m.backbone.body.layer1[0].conv2.out_channels,
    ),
    ("MODEL.RESNETS.NUM_GROUPS", 4, lambda m: m.backbone.body.layer1[0].conv2.groups),
    (
        "MODEL.RESNETS.STRIDE_IN_1X1",
        False,
        lambda m: m.backbone.body.layer2[0].conv1.stride == (2, 2),
    ),
    ("MODEL.RESNETS.BACKBONE_OUT_CHANNELS", 128, lambda m: m.rpn.head.conv.out_channels),
    (
        "MODEL.FPN.USE_RELU",
        True,
        lambda m: isinstance(m.backbone.fpn.fpn_inner1[-1], nn.ReLU),
    ),
    ("DATALOADER.SIZE_DIVISIBILITY", 64, lambda m: m.size_divisible),
]


@pytest.mark.parametrize(("key", "value", "find"), PLACES, ids=[place[0] for place in PLACES])
def test_a_key_arrives(key: str, value: Any, find: Callable[[Any], Any]) -> None:
    place = find(build(FPN, key, value))
    if key == "MODEL.RPN.ASPECT_RATIOS":
        assert place == (1,)
    else:
        assert place == value


def test_class_agnostic_boxes() -> None:
    box = build(FPN, "MODEL.CLS_AGNOSTIC_BBOX_REG", True).roi_heads.box
    assert box.predictor.bbox_pred.out_features == 8
    assert box.class_agnostic
    assert box.post_processor.class_agnostic


@pytest.mark.parametrize(
    ("freeze_at", "frozen"), [(0, []), (1, ["stem"]), (3, ["layer1", "layer2", "stem"])]
)
def test_frozen_stages(freeze_at: int, frozen: list[str]) -> None:
    body = build(FPN, "MODEL.BACKBONE.FREEZE_CONV_BODY_AT", freeze_at).backbone.body
    found = {name.split(".")[0] for name, p in body.named_parameters() if not p.requires_grad}
    assert sorted(found) == frozen


def test_dilation_reaches_only_the_c4_head() -> None:
    model = build(C4, "MODEL.RESNETS.RES5_DILATION", 2)
    assert model.roi_heads.box.feature_extractor.head.layer4[1].conv2.dilation == (2, 2)
    body = [m for m in model.backbone.modules() if isinstance(m, nn.Conv2d)]
    assert all(conv.dilation == (1, 1) for conv in body)


def test_the_detectron_profile_reaches_the_parts() -> None:
    model = build(FPN)
    box = model.roi_heads.box
    holders = [model.rpn, model.rpn.loss, box, box.post_processor, box.sampler]
    holders.append(box.feature_extractor.pooler)
    assert [part.box_offset for part in holders] == [1.0] * 6
    assert model.rpn.nms_inclusive
    assert box.post_processor.nms_inclusive
    assert not box.feature_extractor.pooler.aligned


def test_the_model_is_laid_out_for_convolutions() -> None:
    model = build_model(load("rpn_R_50_C4_1x.yaml"))
    weight = model.backbone.get_parameter("body.layer1.0.conv2.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("file", "key", "value", "message"),
    [
        (FPN, "MODEL.META_ARCHITECTURE", "GeneralisedRCNN", "'GeneralizedRCNN'"),
        (FPN, "MODEL.BACKBONE.CONV_BODY", "R-51-FPN", "R-51-FPN"),
        (FPN, "MODEL.RPN.RPN_HEAD", "TwoConvRPNHead", "'SingleConvRPNHead'"),
        (FPN, "MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR", "FPN3MLP", "'FPN2MLPFeatureExtractor'"),
        (FPN, "MODEL.ROI_BOX_HEAD.PREDICTOR", "Predictor", "'FPNPredictor'"),
        (FPN, "MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR", "Mask", "'MaskRCNNFPNFeatureExtractor'"),
        (FPN, "MODEL.ROI_MASK_HEAD.PREDICTOR", "Mask", "MaskRCNNC4Predictor"),
        (FPN, "MODEL.RESNETS.TRANS_FUNC", "BottleneckWithLN", "WithFixedBatchNorm"),
        (FPN, "MODEL.RESNETS.STEM_FUNC", "StemWithLN", "WithFixedBatchNorm"),
        (FPN, "MODEL.RESNETS.STAGE_WITH_DCN", (False, True, True), "4"),
        (FPN, "MODEL.NUMERICS", "caffe", "detectron"),
        (FPN, "MODEL.KEYPOINT_ON", True, "False"),
        (FPN, "MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS", True, "False"),
        (C4, "MODEL.RESNETS.BACKBONE_OUT_CHANNELS", 512, "1024"),
        (FPN, "MODEL.RPN.ANCHOR_STRIDE", (4, 8, 16, 32), "strides"),
        (FPN, "MODEL.RPN.ANCHOR_SIZES", (32, 64), "sizes"),
        (FPN, "MODEL.ROI_MASK_HEAD.POOLER_SCALES", (0.0625,), "Use (0.25, 0.125, 0.0625, 0.03125)"),
        (FPN, "MODEL.ROI_BOX_HEAD.POOLER_SCALES", (0.125, 0.0625), "(4, 8, 16, 32, 64)"),
        (FOREIGN, "MODEL.ROI_BOX_HEAD.POOLER_SCALES", SIX_SCALES, "gives 5 maps"),
        (FOREIGN, "MODEL.RPN.ANCHOR_STRIDE", (4, 8, 16, 32, 64, 128), "gives 5 maps"),
        (FPN, "MODEL.BACKBONE.FREEZE_CONV_BODY_AT", 6, "at most 5"),
        (C4, "MODEL.BACKBONE.FREEZE_CONV_BODY_AT", 5, "at most 4"),
    ],
)
def test_a_wrong_name_or_number_is_named(file: str, key: str, value: Any, message: str) -> None:
    # Some the config refuses, others the builder; either way the key is named.
    with pytest.raises(ConfigError) as caught:
        build(file, key, value)
    assert key in str(caught.value)
    assert message in str(caught.value)


def test_group_norm_needs_exactly_one_number() -> None:
    with pytest.raises(ConfigError, match=r"MODEL\.GROUP_NORM"):
        build("gn_baselines/e2e_mask_rcnn_R_50_FPN_1x_gn.yaml", "MODEL.GROUP_NORM.DIM_PER_GP", 16)
    with pytest.raises(ConfigError, match="12 channels"):
        build(
            "gn_baselines/e2e_mask_rcnn_R_50_FPN_1x_gn.yaml",
            "MODEL.ROI_MASK_HEAD.CONV_LAYERS",
            (12, 12),
        )


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("e2e_faster_rcnn_R_50_FPN_1x.yaml", "MODEL.ROI_BOX_HEAD.NUM_CLASSES"),
        ("retinanet/retinanet_R-50-FPN_1x.yaml", "MODEL.RETINANET.NUM_CLASSES"),
    ],
)
@pytest.mark.parametrize("label", [4, -1])
def test_labels_of_no_class_are_named(file: str, key: str, label: int) -> None:
    model = build(file, key, 4)
    targets = [make_target(64, 96, count=2), make_target(64, 96, count=3)]
    model.pad_targets(targets, "cpu")
    targets[1].get_field("labels")[1] = label
    message = rf"targets\[1\]: expected labels from 1 to 3, got {label}\. The model has 4 classes"
    with pytest.raises(DatasetError, match=message):
        model.pad_targets(targets, "cpu")
    # A proposal network has no classes.
    build("rpn_R_50_FPN_1x.yaml").pad_targets(targets, "cpu")
