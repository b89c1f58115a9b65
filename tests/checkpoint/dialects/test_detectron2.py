"""detectron2's names, order and norms: a model of ours written in its words comes back as it was."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.checkpoint.dialects import detectron2, find_dialect
from maskrcnn_benchmark.checkpoint.opening import open_file
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.errors import CheckpointError

THIN = {
    "MODEL.RESNETS.WIDTH_PER_GROUP": 2,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 4,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 8,
    "MODEL.ROI_BOX_HEAD.NUM_CLASSES": 6,
    "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM": 10,
    "MODEL.RETINANET.NUM_CLASSES": 6,
}
SCALES = (0.25, 0.125, 0.0625, 0.03125)
PYRAMID = {
    "MODEL.BACKBONE.CONV_BODY": "R-50-FPN",
    "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 32,
    "MODEL.RPN.USE_FPN": True,
    "MODEL.RPN.ANCHOR_STRIDE": (4, 8, 16, 32, 64),
    "MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR": "FPN2MLPFeatureExtractor",
    "MODEL.ROI_BOX_HEAD.PREDICTOR": "FPNPredictor",
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
    "MODEL.ROI_BOX_HEAD.POOLER_SCALES": SCALES,
    "MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR": "MaskRCNNFPNFeatureExtractor",
    "MODEL.ROI_MASK_HEAD.POOLER_SCALES": SCALES,
    "MODEL.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR": False,
    "MODEL.ROI_MASK_HEAD.CONV_LAYERS": (32, 32),
    "MODEL.ROI_MASK_HEAD.RESOLUTION": 28,
}
KEYPOINTS = {
    "MODEL.KEYPOINT_ON": True,
    "MODEL.ROI_KEYPOINT_HEAD.POOLER_SCALES": SCALES,
    "MODEL.ROI_KEYPOINT_HEAD.CONV_LAYERS": (8, 8),
    "MODEL.ROI_KEYPOINT_HEAD.SHARE_BOX_FEATURE_EXTRACTOR": False,
    "MODEL.ROI_KEYPOINT_HEAD.RESOLUTION": 56,
}
XCONVS = {
    "MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR": "FPNXconv1fcFeatureExtractor",
    "MODEL.ROI_BOX_HEAD.CONV_HEAD_DIM": 32,
    "MODEL.ROI_BOX_HEAD.NUM_STACKED_CONVS": 2,
}
GROUP_NORM = {
    "MODEL.RESNETS.NORM": "GN",
    "MODEL.RESNETS.WIDTH_PER_GROUP": 32,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 32,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 32,
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
    "MODEL.FPN.NORM": "GN",
    "MODEL.ROI_BOX_HEAD.NORM": "GN",
    "MODEL.ROI_MASK_HEAD.NORM": "GN",
}
CASES: dict[str, dict[str, Any]] = {
    "C4": {"MODEL.BACKBONE.CONV_BODY": "R-50-C4", "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 32},
    "mask C4": {
        "MODEL.BACKBONE.CONV_BODY": "R-101-C4",
        "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 32,
        "MODEL.MASK_ON": True,
        "MODEL.ROI_MASK_HEAD.CONV_LAYERS": (9,),
    },
    "mask": {**PYRAMID, "MODEL.MASK_ON": True},
    "keypoints": {**PYRAMID, **KEYPOINTS},
    "cascade": {
        **PYRAMID,
        "MODEL.MASK_ON": True,
        "MODEL.CASCADE_ON": True,
        "MODEL.CLS_AGNOSTIC_BBOX_REG": True,
    },
    "ResNeXt": {
        **PYRAMID,
        "MODEL.RESNETS.NUM_GROUPS": 4,
        "MODEL.RESNETS.STRIDE_IN_1X1": False,
    },
    "group norm": {**PYRAMID, **GROUP_NORM, **XCONVS, "MODEL.MASK_ON": True},
    "xconvs": {**PYRAMID, **XCONVS},
    "deformable": {
        **PYRAMID,
        "MODEL.RESNETS.STAGE_WITH_DCN": (False, True, True, True),
        "MODEL.RESNETS.WITH_MODULATED_DCN": True,
    },
    "proposals": {**PYRAMID, "MODEL.RPN_ONLY": True},
    "several convolutions": {**PYRAMID, "MODEL.RPN.NUM_CONVS": 2},
    "RetinaNet": {
        "MODEL.BACKBONE.CONV_BODY": "R-50-FPN-RETINANET",
        "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 32,
        "MODEL.RETINANET_ON": True,
        "MODEL.RPN_ONLY": True,
    },
}

# Ours -> theirs; \1 and so on, with what is computed from a number in braces.
THEIR_NAMES = (
    (r"backbone\.body\.stem\.conv1\.", "B.stem.conv1."),
    (r"backbone\.body\.stem\.bn1\.", "B.stem.conv1.norm."),
    (r"backbone\.body\.layer(\d)\.", "B.res{+1}."),
    (r"roi_heads\.box\.feature_extractor\.head\.layer4\.", "roi_heads.res5."),
    (r"\.downsample\.0\.", ".shortcut."),
    (r"\.downsample\.1\.", ".shortcut.norm."),
    (r"\.bn(\d)\.", r".conv\1.norm."),
    (r"\.conv2\.conv\.", ".conv2."),
    (r"\.conv2\.offset\.", ".conv2_offset."),
    (r"backbone\.fpn\.fpn_inner(\d)\.", "backbone.fpn_lateral{+1}."),
    (r"backbone\.fpn\.fpn_layer(\d)\.", "backbone.fpn_output{+1}."),
    (r"backbone\.fpn\.top_blocks\.", "backbone.top_block."),
    (r"(lateral\d|output\d|mask_fcn\d)\.0\.", r"\1."),
    (r"(lateral\d|output\d|mask_fcn\d)\.1\.", r"\1.norm."),
    (r"rpn\.head\.conv\.(\d)\.", r"proposal_generator.rpn_head.conv.conv\1."),
    (r"rpn\.head\.conv\.", "proposal_generator.rpn_head.conv."),
    (r"roi_heads\.box\.(?:stages\.(\d)\.)?predictor\.", r"roi_heads.box_predictor.\1."),
    (r"roi_heads\.box\.(?:stages\.(\d)\.)?feature_extractor\.", r"roi_heads.box_head.\1."),
    (r"(box_predictor|box_head)\.\.", r"\1."),
    (r"box_head\.(\d\.)?fc6\.", r"box_head.\1fc1."),
    (r"box_head\.(\d\.)?fc7\.", r"box_head.\1fc2."),
    (r"roi_heads\.mask\.feature_extractor\.", "roi_heads.mask_head."),
    (r"roi_heads\.mask\.predictor\.conv5_mask\.", "roi_heads.mask_head.deconv."),
    (r"roi_heads\.mask\.predictor\.mask_fcn_logits\.", "roi_heads.mask_head.predictor."),
    (r"roi_heads\.keypoint\.feature_extractor\.", "roi_heads.keypoint_head."),
    (
        r"roi_heads\.keypoint\.predictor\.kps_score_lowres\.",
        "roi_heads.keypoint_head.score_lowres.",
    ),
)
RPN = (
    (r"rpn\.head\.cls_logits", "proposal_generator.rpn_head.objectness_logits"),
    (r"rpn\.head\.bbox_pred", "proposal_generator.rpn_head.anchor_deltas"),
)
RETINANET = (
    (r"rpn\.head\.cls_tower", "head.cls_subnet"),
    (r"rpn\.head\.bbox_tower", "head.bbox_subnet"),
    (r"rpn\.head\.cls_logits", "head.cls_score"),
    (r"rpn\.head\.bbox_pred", "head.bbox_pred"),
)


def their_name(name: str, cfg: Config) -> str:
    for pattern, text in (*(RETINANET if cfg.MODEL.RETINANET_ON else RPN), *THEIR_NAMES):

        def replace(found: re.Match[str], text: str = text) -> str:
            text = text.replace("{+1}", str(int(found[1]) + 1) if "{" in text else "")
            return found.expand(text)

        name = re.sub(pattern, replace, name)
    if found := re.search(r"xconvs\.(\d+)\.", name):
        step = 3 if cfg.MODEL.ROI_BOX_HEAD.NORM else 2
        number, place = divmod(int(found[1]), step)
        name = name.replace(found[0], f"conv{number + 1}.{'norm.' if place else ''}")
    is_pyramid = "FPN" in cfg.MODEL.BACKBONE.CONV_BODY
    return name.replace("B.", "backbone.bottom_up." if is_pyramid else "backbone.", 1)


def their_value(name: str, value: Tensor, cfg: Config) -> Tensor:
    if name.endswith("running_var"):
        return value - 1e-5
    if "predictor.cls_score" in name:
        return torch.cat((value[1:], value[:1]))
    if "predictor.bbox_pred" in name:
        return value[4:]
    if "mask_fcn_logits" in name:
        return value[1:]
    if re.match(r"rpn\.head\.(cls_logits|bbox_pred)", name):
        anchors = 9 if cfg.MODEL.RETINANET_ON else 3 if cfg.MODEL.RPN.USE_FPN else 15
        parts = value.unflatten(0, (3, anchors // 3, -1))  # ratios, sizes
        return parts.transpose(0, 1).flatten(0, 2)
    return value


def make_model(case: str) -> tuple[Config, dict[str, Tensor]]:
    """A thin model's config and weights, all different; what background does not use is zero, as here it is lost."""
    cfg = get_defaults()
    for key, value in {**THIN, "MODEL.NUMERICS": "detectron2", **CASES[case]}.items():
        cfg.merge_from_list([key, value])
    torch.manual_seed(0)
    weights = {
        name: torch.rand_like(value) + 0.5
        for name, value in build_model(cfg).state_dict().items()
        if "cell_anchors" not in name
    }
    for name, value in weights.items():
        if name.endswith(("predictor.bbox_pred.weight", "predictor.bbox_pred.bias")):
            value[:4] = 0
        if "mask_fcn_logits" in name:
            value[:1] = 0
        # What box and mask head share is one module under two names.
        if name.startswith("roi_heads.mask.feature_extractor.head"):
            weights[name] = weights[name.replace("mask", "box", 1)]
    return cfg, weights


def write(cfg: Config, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        their_name(name, cfg): their_value(name, value, cfg)
        for name, value in weights.items()
        if not name.startswith("roi_heads.mask.feature_extractor.head")
    }


@pytest.mark.parametrize("case", CASES)
def test_round_trip(case: str) -> None:
    cfg, weights = make_model(case)
    theirs = write(cfg, weights)
    shapes = {name: tuple(value.shape) for name, value in theirs.items()}
    assert find_dialect(shapes) is detectron2
    converted = detectron2.convert(theirs)
    assert converted.dialect == "detectron2"
    assert converted.is_detector
    assert converted.unused == ()
    assert set(converted.weights) == set(weights)
    for name, value in converted.weights.items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=1e-6)
    # The settings alone build a network that takes them all.
    inferred = get_defaults()
    inferred.merge_from_list([item for pair in converted.settings for item in pair])
    own = build_model(inferred).state_dict()
    assert {name for name in own if "cell_anchors" not in name} == set(weights)
    assert all(own[name].shape == value.shape for name, value in weights.items())
    absent = [] if cfg.MODEL.MASK_ON else ["MODEL.ROI_MASK_HEAD."]
    absent += ["MODEL.ROI_"] if cfg.MODEL.RPN_ONLY else []
    for key in CASES[case]:
        if key.startswith(tuple(absent)):
            continue
        section, leaf = inferred.locate(key)
        expected, _ = cfg.locate(key)
        assert section[leaf] == expected[leaf], key


def test_how_the_input_looks() -> None:
    for case, deviation in (("mask", None), ("ResNeXt", (57.375, 57.12, 58.395))):
        settings = dict(detectron2.convert(write(*make_model(case))).settings)
        assert settings["INPUT.PIXEL_MEAN"] == (103.53, 116.28, 123.675)
        assert settings.get("INPUT.PIXEL_STD") == deviation


def test_anchors_by_hand() -> None:
    weights = write(*make_model("C4"))
    name = "proposal_generator.rpn_head.objectness_logits.bias"
    weights[name] = torch.arange(15.0)  # size by size: ratios 0 1 2 of size 0, ...
    bias = detectron2.convert(weights).weights["rpn.head.cls_logits.bias"]
    assert bias.tolist() == [0, 3, 6, 9, 12, 1, 4, 7, 10, 13, 2, 5, 8, 11, 14]


def test_norms_that_train_keep_their_variance() -> None:
    cfg, weights = make_model("mask")
    theirs = write(cfg, weights)
    for name in list(theirs):
        if name.endswith("running_var"):
            theirs[name.replace("running_var", "num_batches_tracked")] = torch.tensor(7)
    converted = detectron2.convert(theirs)
    settings = dict(converted.settings)
    assert settings["MODEL.RESNETS.NORM"] == "BN"
    name = "backbone.body.layer1.0.bn1.running_var"
    torch.testing.assert_close(converted.weights[name], weights[name] - 1e-5)
    assert len(converted.unused) == sum(name.endswith("num_batches_tracked") for name in theirs)


def test_what_has_no_place_here() -> None:
    theirs = write(*make_model("mask"))
    theirs["pixel_mean"] = torch.tensor([103.53, 116.28, 123.675]).view(3, 1, 1)
    theirs["pixel_std"] = torch.tensor([57.375, 57.12, 58.395]).view(3, 1, 1)
    theirs["proposal_generator.anchor_generator.cell_anchors.0"] = torch.zeros(3, 4)
    theirs["sem_seg_head.p2.0.weight"] = torch.zeros(1)
    converted = detectron2.convert(theirs)
    assert len(converted.unused) == 4
    assert dict(converted.settings)["INPUT.PIXEL_STD"] == (57.375, 57.12, 58.395)
    assert dict(converted.settings)["INPUT.PIXEL_MEAN"] == (103.53, 116.28, 123.675)


def test_another_part_is_refused_by_name() -> None:
    theirs = write(*make_model("mask"))
    theirs["roi_heads.densepose_head.body_conv_fcn1.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"roi_heads\.densepose_head\.body_conv_fcn1\.weight"):
        detectron2.convert(theirs)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_an_imagenet_body(prefix: str) -> None:
    cfg, weights = make_model("C4")
    theirs = {
        prefix + name.removeprefix("backbone."): value
        for name, value in write(cfg, weights).items()
        if name.startswith("backbone.")
    }
    theirs[f"{prefix}stem.fc.weight"] = torch.zeros(1000, 8)
    assert detectron2.recognise({name: tuple(value.shape) for name, value in theirs.items()})
    converted = detectron2.convert(theirs)
    assert not converted.is_detector
    assert converted.unused == ("stem.fc.weight",)
    assert set(converted.weights) == {name for name in weights if name.startswith("backbone.")}
    # Its bodies come from torchvision.
    assert dict(converted.settings)["MODEL.RESNETS.STRIDE_IN_1X1"] is False
    assert dict(converted.settings)["INPUT.TO_BGR255"] is False


def test_files_of_others_are_not_recognised() -> None:
    _, weights = make_model("mask")
    assert not detectron2.recognise({name: tuple(value.shape) for name, value in weights.items()})
    assert not detectron2.recognise({"conv1_w": (64, 3, 7, 7), "res2_0_branch2a_w": (64, 64, 1, 1)})
    assert not detectron2.recognise({"backbone.layer1.0.conv1.weight": (64, 64, 1, 1)})


@pytest.mark.parametrize("ending", ["pkl", "pth"])
def test_files(ending: str, tmp_path: Path) -> None:
    cfg, weights = make_model("mask")
    theirs, path = write(cfg, weights), tmp_path / f"model_final.{ending}"
    if ending == "pth":
        torch.save({"model": theirs, "iteration": 89999, "scheduler": {"last_epoch": 9}}, path)
    else:
        arrays = {name: value.numpy() for name, value in theirs.items()}
        content = {"model": arrays, "__author__": "Detectron2 Model Zoo"}
        path.write_bytes(pickle.dumps(content, protocol=2))
    converted = open_file(path).converted
    assert converted.dialect == "detectron2"
    assert set(converted.weights) == set(weights)
    for name, value in converted.weights.items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=1e-6)
