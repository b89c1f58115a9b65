"""torchvision: its detectors on ResNets with a pyramid, and the ResNets and ResNeXts of ImageNet.

Faster, Mask and Keypoint R-CNN (`*_resnet50_fpn`, `*_resnet50_fpn_v2`) and RetinaNet (`retinanet_resnet50_fpn`), in the
names of today's releases and of those before 0.13. Layouts are PyTorch's already and background comes first; but
torchvision's RetinaNet has a logit for background too, which is left out.

Epsilon: frozen norms here have none, so it is added to the stored variances. Models whose norms were trained (their
files count batches) have 1e-5. Frozen norms have 0 in torchvision's detectors from version 0.9 on, once pre-trained
weights were loaded.

A: anchors per cell.    K: classes, background included.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from maskrcnn_benchmark.checkpoint.dialects.base import Converted, Settings, Shapes
from maskrcnn_benchmark.checkpoint.dialects.layouts import (
    BATCH_NORM_EPS,
    fold_epsilon,
    variances,
)
from maskrcnn_benchmark.errors import CheckpointError

_BODY = "backbone.body."
_BOX_LOGITS = "roi_heads.box_predictor.cls_score.weight"
_RETINA_LOGITS = "head.classification_head.cls_logits.weight"
_STEM = "conv1.weight"

# Blocks of the third stage -> depth; which of the two kinds of block tells 18 and 50 apart, and 34 from 50.
_DEPTHS = {("bottleneck", 6): 50, ("bottleneck", 23): 101, ("bottleneck", 36): 152}
_SHALLOW_DEPTHS = {("basic", 2): 18, ("basic", 6): 34}

_BATCHES = "num_batches_tracked"

# Names by regular expression, tried in this order; `{...}` adds to the number in the group.
_HEADS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"backbone\.fpn\.extra_blocks\.(p[67]\..+)", r"backbone.fpn.top_blocks.\1"),
        (r"rpn\.head\.((?:cls_logits|bbox_pred)\..+)", r"rpn.head.\1"),
        (r"roi_heads\.box_head\.(fc[67]\..+)", r"roi_heads.box.feature_extractor.\1"),
        (
            r"roi_heads\.box_predictor\.((?:cls_score|bbox_pred)\..+)",
            r"roi_heads.box.predictor.\1",
        ),
        (
            r"roi_heads\.mask_head\.(mask_fcn\d+\.(?:weight|bias))",
            r"roi_heads.mask.feature_extractor.\1",
        ),
        (r"roi_heads\.mask_predictor\.(.+)", r"roi_heads.mask.predictor.\1"),
        (r"roi_heads\.keypoint_predictor\.(.+)", r"roi_heads.keypoint.predictor.\1"),
        (r"head\.classification_head\.cls_logits\.(.+)", r"rpn.head.cls_logits.\1"),
        (r"head\.regression_head\.bbox_reg\.(.+)", r"rpn.head.bbox_pred.\1"),
    )
)
_PYRAMID = re.compile(r"backbone\.fpn\.(inner|layer)_blocks\.(\d)\.(?:(\d)\.)?(\w+)")
_RPN_CONV = re.compile(r"rpn\.head\.conv\.(?:(\d+)\.0\.)?(weight|bias)")
_BOX_CONV = re.compile(r"roi_heads\.box_head\.(\d+)\.(\d)\.(\w+)")
_BOX_LINEAR = re.compile(r"roi_heads\.box_head\.(\d+)\.(weight|bias)")
_MASK_CONV = re.compile(r"roi_heads\.mask_head\.(\d+)\.(\d)\.(\w+)")
_KEYPOINT_CONV = re.compile(r"roi_heads\.keypoint_head\.(\d+)\.(weight|bias)")
_TOWER = re.compile(r"head\.(classification|regression)_head\.conv\.(\d+)\.(?:(\d)\.)?(\w+)")


def recognise(names: Shapes) -> bool:
    """Whether these are the names of a detector of torchvision, or of an ImageNet ResNet."""
    return _is_detector(names) or (_STEM in names and "layer1.0.conv1.weight" in names)


def convert(weights: dict[str, Tensor]) -> Converted:
    """Rename; for RetinaNet also drop the background's logits.

    Raises:
        CheckpointError: for a detector whose body is no ResNet with a pyramid, or RetinaNet v2.
    """
    if not _is_detector(weights):
        return _convert_body(weights)
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    _refuse_unsupported(shapes)
    trained = any(name.endswith(_BATCHES) for name in weights)
    is_v2 = f"{_BODY}layer1.0.conv1.weight" in weights and _has_pyramid_norms(shapes)
    converted: dict[str, Tensor] = {}
    unused = []
    folded = []
    for name, value in weights.items():
        renamed = _rename(name, shapes)
        if renamed is None or (name.endswith(_BATCHES) and not is_v2):
            unused.append(name)
            continue
        if name.startswith(_BODY) and name.endswith("running_var") and trained and not is_v2:
            value = value + BATCH_NORM_EPS
            folded.append(renamed)
        converted[renamed] = value
    if _RETINA_LOGITS in weights:
        anchors = shapes["head.regression_head.bbox_reg.weight"][0] // 4
        for part in ("weight", "bias"):
            key = f"rpn.head.cls_logits.{part}"
            converted[key] = _drop_background(converted[key], anchors)
        settings = _retinanet_settings(shapes, anchors)
    else:
        settings = _rcnn_settings(shapes, is_v2=is_v2)
    return Converted(
        dialect="torchvision",
        weights=converted,
        settings=settings,
        unused=tuple(unused),
        folded=frozenset(folded),
    )


# Names


def _is_detector(names: Mapping[str, Any]) -> bool:
    has_backbone = any(name.startswith(("backbone.body.", "backbone.fpn.")) for name in names)
    return has_backbone and (_BOX_LOGITS in names or _RETINA_LOGITS in names)


def _rename(name: str, shapes: Shapes) -> str | None:
    """A name here, None for what has no counterpart."""
    if name.startswith(_BODY):
        return _rename_body(name.removeprefix(_BODY), prefix=_BODY)
    for pattern, replacement in _HEADS:
        if found := pattern.fullmatch(name):
            return found.expand(replacement)
    if found := _PYRAMID.fullmatch(name):
        kind, index, part, ending = found.groups()
        # Of the three-level pyramid of RetinaNet the finest level is that of layer2.
        level = int(index) + (2 if _RETINA_LOGITS in shapes else 1)
        inside = f"{part}." if part is not None and _has_pyramid_norms(shapes) else ""
        return f"backbone.fpn.fpn_{kind}{level}.{inside}{ending}"
    return _rename_head(name, shapes)


def _rename_body(name: str, *, prefix: str = "") -> str | None:
    if name.startswith("fc."):
        return None
    return f"{prefix}stem.{name}" if name.startswith(("conv1.", "bn1.")) else f"{prefix}{name}"


def _rename_head(name: str, shapes: Shapes) -> str | None:
    if found := _RPN_CONV.fullmatch(name):
        index, ending = found.groups()
        number = f"{index}." if index is not None and _num_rpn_convs(shapes) > 1 else ""
        return f"rpn.head.conv.{number}{ending}"
    if found := _BOX_CONV.fullmatch(name):
        # Here convolution, norm and ReLU of each layer stand in one list.
        place = 3 * int(found[1]) + int(found[2])
        return f"roi_heads.box.feature_extractor.xconvs.{place}.{found[3]}"
    if found := _BOX_LINEAR.fullmatch(name):
        return f"roi_heads.box.feature_extractor.fc6.{found[2]}"
    if found := _MASK_CONV.fullmatch(name):
        inside = f"{found[2]}." if "roi_heads.mask_head.0.1.weight" in shapes else ""
        layer = int(found[1]) + 1
        return f"roi_heads.mask.feature_extractor.mask_fcn{layer}.{inside}{found[3]}"
    if found := _KEYPOINT_CONV.fullmatch(name):
        # A ReLU stands after each convolution in torchvision's list.
        layer = int(found[1]) // 2 + 1
        return f"roi_heads.keypoint.feature_extractor.conv_fcn{layer}.{found[2]}"
    if found := _TOWER.fullmatch(name):
        kind, index, part, ending = found.groups()
        # Before 0.13 the ReLUs were counted as well, as they are here.
        place = int(index) if part is None else 2 * int(index)
        return f"rpn.head.{'cls' if kind == 'classification' else 'bbox'}_tower.{place}.{ending}"
    return None


def _refuse_unsupported(shapes: Shapes) -> None:
    if f"{_BODY}layer1.0.conv1.weight" not in shapes:
        raise CheckpointError(
            "these are weights of a torchvision detector whose body is not a ResNet (a MobileNet, say); its pyramid "
            "is made otherwise. Take one of torchvision's *_resnet50_fpn models"
        )
    if "head.classification_head.conv.0.1.weight" in shapes:
        raise CheckpointError(
            "these are weights of torchvision's retinanet_resnet50_fpn_v2, whose head has group norms; the RetinaNet "
            "here has none. Take retinanet_resnet50_fpn"
        )


def _drop_background(value: Tensor, anchors: int) -> Tensor:
    """Logits (A * K, ...) -> (A * (K - 1), ...)."""
    kept: Tensor = value.unflatten(0, (anchors, -1))[:, 1:].flatten(0, 1)
    return kept.contiguous()


# What a body is


def _convert_body(weights: dict[str, Tensor]) -> Converted:
    converted: dict[str, Tensor] = {}
    unused = []
    for name, value in weights.items():
        renamed = None if name.endswith(_BATCHES) else _rename_body(name)
        if renamed is not None and renamed.startswith("stem."):
            renamed = f"{_BODY}{renamed}"
        if renamed is None:
            unused.append(name)
            continue
        value = fold_epsilon(name, value)
        converted[renamed] = value
        if renamed != name:
            # The body may also be torchvision's own network.
            converted[f"{_BODY}{name}"] = value
    return Converted(
        dialect="torchvision",
        weights=converted,
        settings=(("MODEL.RESNETS.STRIDE_IN_1X1", False), *_INPUT),
        is_detector=False,
        unused=tuple(unused),
        folded=variances(converted),
    )


def _read_body(shapes: Shapes) -> tuple[int, int, int]:
    """Depth, groups and width per group."""
    kind = "bottleneck" if f"{_BODY}layer1.0.conv3.weight" in shapes else "basic"
    pattern = re.compile(re.escape(_BODY) + r"layer3\.(\d+)\.conv1\.weight")
    blocks = sum(pattern.fullmatch(name) is not None for name in shapes)
    depth = (_DEPTHS | _SHALLOW_DEPTHS).get((kind, blocks))
    if depth is None:
        raise CheckpointError(
            f"layer3 has {blocks} {kind} blocks; no ResNet is known that has so many"
        )
    if kind == "basic":
        return depth, 1, 64
    channels, per_group = shapes[f"{_BODY}layer1.0.conv2.weight"][:2]
    return depth, channels // per_group, per_group


def _has_pyramid_norms(shapes: Shapes) -> bool:
    return "backbone.fpn.inner_blocks.0.1.weight" in shapes


def _num_rpn_convs(shapes: Shapes) -> int:
    return max(1, sum(bool(re.fullmatch(r"rpn\.head\.conv\.\d+\.0\.weight", n)) for n in shapes))


# What the weights need

_INPUT: Settings = (
    ("INPUT.TO_BGR255", False),
    ("INPUT.PIXEL_MEAN", (0.485, 0.456, 0.406)),
    ("INPUT.PIXEL_STD", (0.229, 0.224, 0.225)),
)
_COMMON: Settings = (
    ("MODEL.META_ARCHITECTURE", "GeneralizedRCNN"),
    ("MODEL.NUMERICS", "torchvision"),
    *_INPUT,
    ("INPUT.MIN_SIZE_TEST", 800),
    ("INPUT.MAX_SIZE_TEST", 1333),
    ("DATALOADER.SIZE_DIVISIBILITY", 32),
    ("MODEL.RESNETS.STRIDE_IN_1X1", False),
)
_RPN: Settings = (
    ("MODEL.RPN.USE_FPN", True),
    ("MODEL.RPN.ANCHOR_SIZES", (32, 64, 128, 256, 512)),
    ("MODEL.RPN.ANCHOR_STRIDE", (4, 8, 16, 32, 64)),
    ("MODEL.RPN.ASPECT_RATIOS", (0.5, 1.0, 2.0)),
    ("MODEL.RPN.STRADDLE_THRESH", -1),
    ("MODEL.RPN.PRE_NMS_TOP_N_TRAIN", 2000),
    ("MODEL.RPN.PRE_NMS_TOP_N_TEST", 1000),
    ("MODEL.RPN.POST_NMS_TOP_N_TRAIN", 2000),
    ("MODEL.RPN.POST_NMS_TOP_N_TEST", 1000),
    ("MODEL.RPN.FPN_POST_NMS_TOP_N_TRAIN", 2000),
    ("MODEL.RPN.FPN_POST_NMS_TOP_N_TEST", 1000),
    ("MODEL.RPN.FPN_POST_NMS_PER_BATCH", False),
    ("MODEL.RPN.NMS_THRESH", 0.7),
)
_SCALES = (0.25, 0.125, 0.0625, 0.03125)
_ROI: Settings = (
    ("MODEL.ROI_HEADS.USE_FPN", True),
    ("MODEL.ROI_HEADS.BBOX_REG_WEIGHTS", (10.0, 10.0, 5.0, 5.0)),
    ("MODEL.ROI_HEADS.SCORE_THRESH", 0.05),
    ("MODEL.ROI_HEADS.NMS", 0.5),
    ("MODEL.ROI_HEADS.DETECTIONS_PER_IMG", 100),
    ("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", 7),
    ("MODEL.ROI_BOX_HEAD.POOLER_SCALES", _SCALES),
    ("MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO", 2),
    ("MODEL.ROI_BOX_HEAD.PREDICTOR", "FPNPredictor"),
    ("MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA", 1 / 9),
)


def _body_settings(shapes: Shapes, *, norm: str, suffix: str) -> Settings:
    depth, groups, width = _read_body(shapes)
    return (
        ("MODEL.BACKBONE.CONV_BODY", f"R-{depth}-{suffix}"),
        ("MODEL.RESNETS.NUM_GROUPS", groups),
        ("MODEL.RESNETS.WIDTH_PER_GROUP", width),
        ("MODEL.RESNETS.NORM", norm),
        ("MODEL.RESNETS.BACKBONE_OUT_CHANNELS", _pyramid_channels(shapes)),
    )


def _pyramid_channels(shapes: Shapes) -> int:
    for name in ("backbone.fpn.layer_blocks.0.0.weight", "backbone.fpn.layer_blocks.0.weight"):
        if name in shapes:
            return shapes[name][0]
    raise CheckpointError("this torchvision detector has no pyramid (backbone.fpn.layer_blocks)")


def _rcnn_settings(shapes: Shapes, *, is_v2: bool) -> Settings:
    norm = "BN" if is_v2 else ""
    settings = [
        *_COMMON,
        *_body_settings(shapes, norm="BN" if is_v2 else "FrozenBN", suffix="FPN"),
        ("MODEL.FPN.NORM", norm),
        *_RPN,
        ("MODEL.RPN.NUM_CONVS", _num_rpn_convs(shapes)),
        *_ROI,
        ("MODEL.ROI_BOX_HEAD.NUM_CLASSES", shapes[_BOX_LOGITS][0]),
        *_box_head_settings(shapes),
    ]
    if "roi_heads.mask_predictor.mask_fcn_logits.weight" in shapes:
        settings += _mask_head_settings(shapes)
    keypoints = shapes.get("roi_heads.keypoint_predictor.kps_score_lowres.weight")
    if keypoints is not None:
        settings += _keypoint_head_settings(shapes, num_keypoints=keypoints[1])
    return tuple(settings)


def _box_head_settings(shapes: Shapes) -> Settings:
    convs = sum(bool(re.fullmatch(r"roi_heads\.box_head\.\d+\.0\.weight", n)) for n in shapes)
    if not convs:
        return (
            ("MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR", "FPN2MLPFeatureExtractor"),
            ("MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM", shapes["roi_heads.box_head.fc6.weight"][0]),
            ("MODEL.ROI_BOX_HEAD.NORM", ""),
        )
    # Behind the convolutions stand a flattening layer and the linear one.
    linear = shapes[f"roi_heads.box_head.{convs + 1}.weight"]
    return (
        ("MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR", "FPNXconv1fcFeatureExtractor"),
        ("MODEL.ROI_BOX_HEAD.NUM_STACKED_CONVS", convs),
        ("MODEL.ROI_BOX_HEAD.CONV_HEAD_DIM", shapes["roi_heads.box_head.0.0.weight"][0]),
        ("MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM", linear[0]),
        ("MODEL.ROI_BOX_HEAD.NORM", "BN"),
    )


def _mask_head_settings(shapes: Shapes) -> Settings:
    pattern = re.compile(r"roi_heads\.mask_head\.(?:(\d+)\.0|mask_fcn(\d+))\.weight")
    found = {int(m[1] or m[2]): name for name in shapes if (m := pattern.fullmatch(name))}
    layers = tuple(shapes[found[number]][0] for number in sorted(found))
    norm = "BN" if "roi_heads.mask_head.0.1.weight" in shapes else ""
    return (
        ("MODEL.MASK_ON", True),
        ("MODEL.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR", False),
        ("MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR", "MaskRCNNFPNFeatureExtractor"),
        ("MODEL.ROI_MASK_HEAD.PREDICTOR", "MaskRCNNC4Predictor"),
        ("MODEL.ROI_MASK_HEAD.CONV_LAYERS", layers),
        ("MODEL.ROI_MASK_HEAD.NORM", norm),
        ("MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION", 14),
        ("MODEL.ROI_MASK_HEAD.POOLER_SCALES", _SCALES),
        ("MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO", 2),
        ("MODEL.ROI_MASK_HEAD.RESOLUTION", 28),
    )


def _keypoint_head_settings(shapes: Shapes, *, num_keypoints: int) -> Settings:
    found = {int(m[1]): n for n in shapes if (m := _KEYPOINT_CONV.fullmatch(n)) and m[2] != "bias"}
    return (
        ("MODEL.KEYPOINT_ON", True),
        ("MODEL.ROI_KEYPOINT_HEAD.SHARE_BOX_FEATURE_EXTRACTOR", False),
        ("MODEL.ROI_KEYPOINT_HEAD.FEATURE_EXTRACTOR", "KeypointRCNNFeatureExtractor"),
        ("MODEL.ROI_KEYPOINT_HEAD.PREDICTOR", "KeypointRCNNPredictor"),
        ("MODEL.ROI_KEYPOINT_HEAD.CONV_LAYERS", tuple(shapes[found[i]][0] for i in sorted(found))),
        ("MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES", num_keypoints),
        ("MODEL.ROI_KEYPOINT_HEAD.POOLER_RESOLUTION", 14),
        ("MODEL.ROI_KEYPOINT_HEAD.POOLER_SCALES", _SCALES),
        ("MODEL.ROI_KEYPOINT_HEAD.POOLER_SAMPLING_RATIO", 2),
        ("MODEL.ROI_KEYPOINT_HEAD.RESOLUTION", 56),
    )


def _retinanet_settings(shapes: Shapes, anchors: int) -> Settings:
    channels = shapes["backbone.fpn.extra_blocks.p6.weight"][1]
    towers = [n for n in shapes if (m := _TOWER.fullmatch(n)) and m[1] == "regression"]
    return (
        *_COMMON,
        *_body_settings(shapes, norm="FrozenBN", suffix="FPN-RETINANET"),
        ("MODEL.RPN_ONLY", True),
        ("MODEL.RETINANET_ON", True),
        ("MODEL.RETINANET.NUM_CLASSES", shapes[_RETINA_LOGITS][0] // anchors),
        ("MODEL.RETINANET.NUM_CONVS", sum(name.endswith(".weight") for name in towers)),
        ("MODEL.RETINANET.USE_C5", channels != _pyramid_channels(shapes)),
        ("MODEL.RETINANET.ANCHOR_SIZES", (32, 64, 128, 256, 512)),
        ("MODEL.RETINANET.ANCHOR_STRIDES", (8, 16, 32, 64, 128)),
        ("MODEL.RETINANET.ASPECT_RATIOS", (0.5, 1.0, 2.0)),
        ("MODEL.RETINANET.SCALES_PER_OCTAVE", 3),
        ("MODEL.RETINANET.BBOX_REG_WEIGHTS", (1.0, 1.0, 1.0, 1.0)),
        ("MODEL.RETINANET.PRE_NMS_TOP_N", 1000),
        ("MODEL.RETINANET.INFERENCE_TH", 0.05),
        ("MODEL.RETINANET.NMS_TH", 0.5),
        ("TEST.DETECTIONS_PER_IMG", 300),
    )
