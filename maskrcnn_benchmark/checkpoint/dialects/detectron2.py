"""Weights of detectron2: names, class order and norms -> ours.

- Background is its last class, here it is the first; its box predictor has no background at all.
- Anchors of one cell: all ratios of a size before the next size; here all sizes of a ratio.
- Frozen norms add 1e-5 to the variance; here the variance has it folded in (`layers.norms.FrozenBatchNorm2d`).
- A ResNet's stage `res2` is `layer1` here, and so on.

Files are `.pkl` ({"model": {name: array}, "__author__": ...}) or `.pth` ({"model": state dict, ...}).

K: classes without background.    S: anchor sizes, R: aspect ratios of one cell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from maskrcnn_benchmark.checkpoint.architecture import infer_architecture
from maskrcnn_benchmark.checkpoint.dialects.base import Converted, Settings, Shapes
from maskrcnn_benchmark.errors import CheckpointError

NAME = "detectron2"
FROZEN_NORM_EPS = 1e-5
# Aspect ratios of an anchor cell; all of its published models have these.
RATIOS = 3

_BOX, _MASK, _KEYPOINT = "roi_heads.box", "roi_heads.mask", "roi_heads.keypoint"
_HALLMARK = re.compile(r"(backbone\.(bottom_up\.)?)?res2\.0\.conv1\.weight")
_STAGE = re.compile(r"(?:backbone\.(?:bottom_up\.)?|(roi_heads)\.)?res([2-5])\.(\d+)\.(\w+)\.(.+)")
_STEM = re.compile(r"(?:backbone\.(?:bottom_up\.)?)?stem\.conv1\.(norm\.)?(\w+)")
_BODY = re.compile(r"(?:backbone\.)?(?:bottom_up\.)?(?:stem|res[2-5])\.")
_FPN = re.compile(r"backbone\.fpn_(lateral|output)([2-5])\.(norm\.)?(\w+)")
_BOX_LAYER = re.compile(r"roi_heads\.box_head\.(?:(\d)\.)?(fc|conv)(\d)\.(norm\.)?(\w+)")
_MASK_CONV = re.compile(r"roi_heads\.mask_head\.(mask_fcn\d+)\.(norm\.)?(\w+)")
_PREDICTOR = re.compile(r"roi_heads\.box_predictor\.(?:(\d)\.)?(cls_score|bbox_pred)\.(\w+)")

# One to one: beginning of the name there -> here.
_PREFIXES = (
    (r"backbone\.top_block\.", "backbone.fpn.top_blocks."),
    (r"proposal_generator\.rpn_head\.conv\.conv(\d+)\.", r"rpn.head.conv.\1."),
    (r"proposal_generator\.rpn_head\.conv\.", "rpn.head.conv."),
    (r"proposal_generator\.rpn_head\.objectness_logits\.", "rpn.head.cls_logits."),
    (r"proposal_generator\.rpn_head\.anchor_deltas\.", "rpn.head.bbox_pred."),
    (r"head\.cls_subnet\.", "rpn.head.cls_tower."),
    (r"head\.bbox_subnet\.", "rpn.head.bbox_tower."),
    (r"head\.cls_score\.", "rpn.head.cls_logits."),
    (r"head\.bbox_pred\.", "rpn.head.bbox_pred."),
    (r"roi_heads\.mask_head\.deconv\.", f"{_MASK}.predictor.conv5_mask."),
    (r"roi_heads\.mask_head\.predictor\.", f"{_MASK}.predictor.mask_fcn_logits."),
    (r"roi_heads\.keypoint_head\.(conv_fcn\d+)\.", rf"{_KEYPOINT}.feature_extractor.\1."),
    (r"roi_heads\.keypoint_head\.score_lowres\.", f"{_KEYPOINT}.predictor.kps_score_lowres."),
)
_RENAMES = tuple((re.compile(pattern), name) for pattern, name in _PREFIXES)
# Anchors and pixel statistics follow from the settings; semantic segmentation and ImageNet classes have no place here.
_UNUSED = re.compile(
    r"(pixel_(mean|std)|(proposal_generator\.)?anchor_generator\.|sem_seg_head\.|(backbone\.)?(stem|linear)\.fc"
    r"|(backbone\.)?linear\.|.*\.num_batches_tracked$)"
)

# How its models were trained and are tested, as far as this differs from our defaults.
_CONVENTIONS: Settings = (
    ("MODEL.NUMERICS", NAME),
    ("INPUT.PIXEL_MEAN", (103.53, 116.28, 123.675)),
    ("INPUT.MIN_SIZE_TRAIN", (640, 672, 704, 736, 768, 800)),
    ("MODEL.RPN.STRADDLE_THRESH", -1),
    ("MODEL.RPN.SMOOTH_L1_BETA", 0.0),
    ("MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA", 0.0),
    ("MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO", 0),
    ("MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO", 0),
    ("MODEL.ROI_KEYPOINT_HEAD.POOLER_SAMPLING_RATIO", 0),
    ("MODEL.RETINANET.BBOX_REG_WEIGHTS", (1.0, 1.0, 1.0, 1.0)),
    ("MODEL.RETINANET.BBOX_REG_WEIGHT", 1.0),
    ("MODEL.RETINANET.BBOX_REG_BETA", 0.0),
    ("MODEL.RETINANET.NMS_TH", 0.5),
)
# ImageNet bodies in its words come from torchvision: RGB, and the stride in the 3x3 convolution.
_TORCHVISION_BODY: Settings = (
    ("INPUT.TO_BGR255", False),
    ("INPUT.PIXEL_MEAN", (0.485, 0.456, 0.406)),
    ("INPUT.PIXEL_STD", (0.229, 0.224, 0.225)),
    ("MODEL.RESNETS.STRIDE_IN_1X1", False),
)
# Its ResNeXts start from weights that were trained with this deviation, its ResNets with 1.
_RESNEXT_STD = (57.375, 57.12, 58.395)
# PRE_NMS_TOPK of its pyramids counts for each level, POST_NMS_TOPK for the image.
_PYRAMID: Settings = (
    ("MODEL.RPN.PRE_NMS_TOP_N_TRAIN", 2000),
    ("MODEL.RPN.PRE_NMS_TOP_N_TEST", 1000),
    ("MODEL.RPN.POST_NMS_TOP_N_TRAIN", 1000),
    ("MODEL.RPN.POST_NMS_TOP_N_TEST", 1000),
)


def recognise(names: Shapes) -> bool:
    """Whether a file with these names is detectron2's: a ResNet in its words."""
    return any(_HALLMARK.fullmatch(name.removeprefix("module.")) for name in names)


def convert(weights: dict[str, Tensor]) -> Converted:
    """Rename and rearrange a whole model, or an ImageNet body.

    Raises:
        CheckpointError: for parts that have no counterpart here; the message names the first.
    """
    weights = {name.removeprefix("module."): value for name, value in weights.items()}
    unused = tuple(name for name in weights if _UNUSED.match(name))
    left_out = set(unused)
    is_detector = any(not _BODY.match(name) for name in weights if name not in left_out)
    result: dict[str, Tensor] = {}
    folded: set[str] = set()
    for name, value in weights.items():
        if name in left_out:
            continue
        names = rename(name, weights)
        if name.endswith(".running_var") and _is_frozen(name, weights, is_detector=is_detector):
            value = value + FROZEN_NORM_EPS
            folded.update(names)
        for own in names:
            result[own] = value
    _reorder(result)
    return Converted(
        dialect=NAME,
        weights=result,
        settings=_settings(weights, result, is_detector=is_detector),
        is_detector=is_detector,
        unused=unused,
        folded=frozenset(folded),
    )


def _is_frozen(name: str, names: Collection[str], *, is_detector: bool) -> bool:
    """Whether a norm is a constant: it does not count batches, or is of a body, which is frozen where it is used."""
    counter = name.replace(".running_var", ".num_batches_tracked")
    return not is_detector or counter not in names


# Names


def rename(name: str, names: Collection[str]) -> tuple[str, ...]:
    """Our names of a weight: one, or two for what box and mask head share (C4).

    Args:
        name: detectron2's.
        names: all names of the file.

    Raises:
        CheckpointError: if it has no counterpart here.
    """
    if found := _STAGE.fullmatch(name):
        return _rename_stage(found, names)
    if found := _STEM.fullmatch(name):
        return (f"backbone.body.stem.{'bn1' if found[1] else 'conv1'}.{found[2]}",)
    if found := _FPN.fullmatch(name):
        kind, level, norm, ending = found.groups()
        part = f"backbone.fpn.fpn_{'inner' if kind == 'lateral' else 'layer'}{int(level) - 1}"
        return (_in_sequence(part, norm, ending, f"backbone.fpn_{kind}{level}", names),)
    if found := _PREDICTOR.fullmatch(name):
        stage, layer, ending = found.groups()
        return (f"{_box_part(stage)}.predictor.{layer}.{ending}",)
    if found := _BOX_LAYER.fullmatch(name):
        return (_rename_box_layer(found, names),)
    if found := _MASK_CONV.fullmatch(name):
        conv, norm, ending = found.groups()
        there, here = f"roi_heads.mask_head.{conv}", f"{_MASK}.feature_extractor.{conv}"
        return (_in_sequence(here, norm, ending, there, names),)
    for pattern, replacement in _RENAMES:
        if pattern.match(name):
            return (pattern.sub(replacement, name, count=1),)
    raise CheckpointError(
        f"detectron2 weights: {name} has no counterpart in this package. Faster, Mask, Keypoint and Cascade R-CNN and "
        "RetinaNet on ResNets are read; remove what is not needed from the file"
    )


def _rename_stage(found: re.Match[str], names: Collection[str]) -> tuple[str, ...]:
    head, stage, block, layer, ending = found.groups()
    norm = ending.startswith("norm.")
    ending = ending.removeprefix("norm.")
    there = found[0][: found[0].index(layer)]
    if layer == "shortcut":
        part = "downsample.1" if norm else "downsample.0"
    elif layer.endswith("_offset"):
        part = f"{layer.removesuffix('_offset')}.offset"
    else:
        part = layer.replace("conv", "bn") if norm else layer
        if f"{there}{layer}_offset.weight" in names and not norm:
            part += ".conv"
    end = f"layer{int(stage) - 1}.{block}.{part}.{ending}"
    if head is None:
        return (f"backbone.body.{end}",)
    heads = [_BOX]
    if any(name.startswith("roi_heads.mask_head.") for name in names):
        heads.append(_MASK)
    return tuple(f"{each}.feature_extractor.head.{end}" for each in heads)


def _rename_box_layer(found: re.Match[str], names: Collection[str]) -> str:
    stage, kind, number, norm, ending = found.groups()
    extractor = f"{_box_part(stage)}.feature_extractor"
    if kind == "fc":
        return f"{extractor}.fc{int(number) + 5}.{ending}"
    # Convolution, norm if there is one, ReLU, one after the other.
    there = f"roi_heads.box_head.{f'{stage}.' if stage else ''}conv{number}"
    step = 3 if f"{there}.norm.weight" in names else 2
    index = step * (int(number) - 1) + (1 if norm else 0)
    return f"{extractor}.xconvs.{index}.{ending}"


def _box_part(stage: str | None) -> str:
    return _BOX if stage is None else f"{_BOX}.stages.{stage}"


def _in_sequence(
    part: str, norm: str | None, ending: str, there: str, names: Collection[str]
) -> str:
    """A convolution with a norm is a Sequential here, one without is the bare layer."""
    if f"{there}.norm.weight" not in names:
        return f"{part}.{ending}"
    return f"{part}.{1 if norm else 0}.{ending}"


# Values


def _reorder(weights: dict[str, Tensor]) -> None:
    """Background to the front, anchors by ratio."""
    changes: tuple[tuple[str, Callable[[Tensor], Tensor]], ...] = (
        (r".*\.predictor\.cls_score\.\w+", lambda value: value.roll(1, dims=0)),
        (r".*\.predictor\.bbox_pred\.\w+", lambda value: _with_background(value, 4)),
    )
    patterns = [(re.compile(pattern), change) for pattern, change in changes]
    for name, value in weights.items():
        for pattern, change in patterns:
            if pattern.fullmatch(name):
                weights[name] = change(value)
    _reorder_masks(weights)
    _reorder_anchors(weights)


def _with_background(value: Tensor, rows: int) -> Tensor:
    """Zeros for the class that is never asked for."""
    return torch.cat((value.new_zeros(rows, *value.shape[1:]), value))


def _reorder_masks(weights: dict[str, Tensor]) -> None:
    scores = next((v for n, v in weights.items() if n.endswith(".predictor.cls_score.bias")), None)
    for ending in ("weight", "bias"):
        name = f"{_MASK}.predictor.mask_fcn_logits.{ending}"
        if name not in weights or scores is None:
            continue
        value = weights[name]
        if value.shape[0] == 1 and scores.shape[0] > 2:  # one map for all classes
            value = value.expand(scores.shape[0] - 1, *value.shape[1:])
        weights[name] = _with_background(value, 1)


def _reorder_anchors(weights: dict[str, Tensor]) -> None:
    boxes = weights.get("rpn.head.bbox_pred.weight")
    if boxes is None:
        return
    anchors = boxes.shape[0] // 4
    if anchors % RATIOS:
        return  # Cells of another make: one size, as in most pyramids.
    for name in ("cls_logits", "bbox_pred"):
        for ending in ("weight", "bias"):
            key = f"rpn.head.{name}.{ending}"
            value = weights[key].unflatten(
                0, (anchors // RATIOS, RATIOS, -1)
            )  # (S, R, values, ...)
            weights[key] = value.transpose(0, 1).flatten(0, 2).contiguous()


# Settings


def _settings(theirs: dict[str, Tensor], ours: dict[str, Tensor], *, is_detector: bool) -> Settings:
    shapes = {name: tuple(value.shape) for name, value in ours.items()}
    if not is_detector:
        return _TORCHVISION_BODY
    counter = re.compile(_BODY.pattern + r".*\.num_batches_tracked")
    architecture = infer_architecture(
        shapes, trained_norm=any(counter.fullmatch(name) for name in theirs)
    )
    known: dict[str, Any] = dict(architecture)
    settings = [*architecture, *_CONVENTIONS]
    if "FPN" in str(known.get("MODEL.BACKBONE.CONV_BODY")):
        settings += _PYRAMID
    else:
        settings += [("MODEL.RPN.POST_NMS_TOP_N_TRAIN", 2000)]
    if known.get("MODEL.RESNETS.NUM_GROUPS", 1) > 1:
        settings += [("INPUT.PIXEL_STD", _RESNEXT_STD)]
    if known.get("MODEL.KEYPOINT_ON"):
        settings += [
            ("MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA", 0.5),
            ("MODEL.RPN.POST_NMS_TOP_N_TRAIN", 1500),
        ]
    for key in ("mean", "std"):
        if f"pixel_{key}" in theirs:
            values = tuple(float(f"{v:.7g}") for v in theirs[f"pixel_{key}"].flatten().tolist())
            settings.append((f"INPUT.PIXEL_{key.upper()}", values))
    return tuple(settings)
