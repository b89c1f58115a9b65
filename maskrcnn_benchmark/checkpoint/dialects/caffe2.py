"""Detectron (Caffe2): names of blobs -> names of this package's weights.

Parts that every model has in one place get their whole name. The residual stages get the end that
begins with `layer`, since the last of them (res5) belongs to the body of an FPN model and to the
head of a C4 model: `checkpoint.matching` finds the place by that end.

Arrays are in PyTorch's layout already: convolutions (out, in, height, width), fully connected
(out, in). Frozen norms come as scale and shift alone; the statistics stay 0 and 1.

A: anchors per cell.    R: aspect ratios.    O: sizes per octave.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor

from maskrcnn_benchmark.checkpoint.dialects.base import Converted, Settings, Shapes
from maskrcnn_benchmark.errors import CheckpointError

logger = logging.getLogger(__name__)

_BOX, _MASK, _KEYPOINT = "roi_heads.box", "roi_heads.mask", "roi_heads.keypoint"
_STEM = "backbone.body.stem"

# Blob without its ending (_w, _b: weight, bias; _bn_s, _bn_b, _gn_s, _gn_b: those of a norm).
_LAYERS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"conv1", f"{_STEM}.conv1"),
        (r"fpn_([67])", r"backbone.fpn.top_blocks.p\1"),
        (r"conv_rpn(?:_fpn2)?", "rpn.head.conv"),
        (r"rpn_(cls_logits|bbox_pred)(?:_fpn2)?", r"rpn.head.\1"),
        (r"retnet_cls_pred_fpn3", "rpn.head.cls_logits"),
        (r"retnet_bbox_pred_fpn3", "rpn.head.bbox_pred"),
        (r"(fc[67])", rf"{_BOX}.feature_extractor.\1"),
        (r"(cls_score|bbox_pred)", rf"{_BOX}.predictor.\1"),
        (r"_\[mask\]_fcn(\d+)", rf"{_MASK}.feature_extractor.mask_fcn\1"),
        (r"(conv5_mask|mask_fcn_logits)", rf"{_MASK}.predictor.\1"),
        (r"(conv_fcn\d+)", rf"{_KEYPOINT}.feature_extractor.\1"),
        (r"(kps_score_lowres)", rf"{_KEYPOINT}.predictor.\1"),
    )
)
_CONV = {"1": "downsample.0", "2a": "conv1", "2b": "conv2", "2c": "conv3"}
_NORM = {"1": "downsample.1", "2a": "bn1", "2b": "bn2", "2c": "bn3"}
_BRANCH = re.compile(r"res([2-5])_(\d+)_branch(1|2[abc])(_bn|_gn)?_(w|b|s)")
_STEM_NORM = re.compile(r"(?:res_conv1_bn|conv1_gn)_([sb])")
_FPN = re.compile(r"fpn_(inner_)?res([2-5])_(\d+)_sum(_lateral)?")
_TOWER = re.compile(r"retnet_(cls|bbox)_conv_n(\d+)_fpn3")
_HEAD_CONV = re.compile(r"head_conv(\d+)")
_PARTED = re.compile(r"(.+?)(_gn)?_([wbs])")
_ENDING = {"w": "weight", "s": "weight", "b": "bias"}
# The stem has no bias here, the classifier of ImageNet no use; the last is fixed upsampling.
_UNUSED = re.compile(r"(conv1_b|(fc1000|pred|kps_score)_[wb]|.*_momentum)")
_DETECTOR = ("rpn.", "roi_heads.")
_RETINANET_RATIOS = 3

_PREPROCESSING: Settings = (
    ("INPUT.TO_BGR255", True),
    ("INPUT.PIXEL_MEAN", (102.9801, 115.9465, 122.7717)),
    ("INPUT.PIXEL_STD", (1.0, 1.0, 1.0)),
)


def recognise(names: Shapes) -> bool:
    """Whether most names are Detectron's."""
    last_blocks = find_last_blocks(names)
    known = sum(
        is_unused(blob) or rename_blob(blob, last_blocks=last_blocks, blobs=names) is not None
        for blob in names
    )
    return known > 0 and 2 * known >= len(names)


def convert(weights: dict[str, Tensor]) -> Converted:
    """Rename the blobs, and bring the anchors of RetinaNet into this package's order.

    Raises:
        CheckpointError: if two blobs stand for the same weight.
    """
    last_blocks = find_last_blocks(weights)
    renamed: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    unused: list[str] = []
    unknown: list[str] = []
    for blob, value in weights.items():
        name = rename_blob(blob, last_blocks=last_blocks, blobs=weights)
        if name is None:
            (unused if is_unused(blob) else unknown).append(blob)
            continue
        if name in renamed:
            raise CheckpointError(
                f"the blobs {origin[name]} and {blob} both stand for {name}; expected the weights of one model"
            )
        renamed[name], origin[name] = value, blob
    if any(blob.startswith("retnet_") for blob in weights):
        _reorder_anchors(renamed)
    if unknown:
        logger.warning(
            "%d arrays have no counterpart here and are left out: %s",
            len(unknown),
            ", ".join(unknown[:10]) + (", ..." if len(unknown) > 10 else ""),
        )
    return Converted(
        dialect="caffe2",
        weights=renamed,
        settings=(
            ("MODEL.NUMERICS", "detectron"),
            *_PREPROCESSING,
            ("MODEL.RESNETS.STRIDE_IN_1X1", not _has_stride_in_3x3(weights)),
        ),
        is_detector=any(name.startswith(_DETECTOR) for name in renamed),
        unused=(*unused, *unknown),
    )


def is_unused(blob: str) -> bool:
    """Whether a blob is left out on purpose: momentum, the ImageNet classifier."""
    return _UNUSED.fullmatch(blob) is not None


def find_last_blocks(blobs: Iterable[str]) -> dict[int, int]:
    """Return stage -> number of its last block, which tells R-50 from R-101."""
    last: dict[int, int] = {}
    for blob in blobs:
        if found := _BRANCH.fullmatch(blob):
            stage, block = int(found[1]), int(found[2])
            last[stage] = max(block, last.get(stage, 0))
    return last


def rename_blob(
    blob: str, *, last_blocks: Mapping[int, int], blobs: Collection[str] = ()
) -> str | None:
    """Return a blob's name here, None for one that is unused or not known.

    Args:
        blob: Detectron's name, such as `res2_0_branch2a_w`.
        last_blocks: stage (2 to 5) -> number of its last block, which FPN's blobs are named after.
        blobs: all names of the file: a layer with a group norm beside it (`..._gn_s`) is a pair here.
    """
    if is_unused(blob):
        return None
    if found := _BRANCH.fullmatch(blob):
        stage, block, branch, norm, ending = found.groups()
        if (norm is None) != (ending == "w"):
            return None
        part = (_NORM if norm else _CONV)[branch]
        return f"layer{int(stage) - 1}.{block}.{part}.{_ENDING[ending]}"
    if found := _STEM_NORM.fullmatch(blob):
        return f"{_STEM}.bn1.{_ENDING[found[1]]}"
    found = _PARTED.fullmatch(blob)
    # A norm has scale and shift, a layer weight and bias.
    if found is None or found[3] not in ("sb" if found[2] else "wb"):
        return None
    layer, norm, ending = found.groups()
    # The stem has a place of its own for its norm.
    with_norm = layer != "conv1" and (norm is not None or f"{layer}_gn_s" in blobs)
    name = _rename_layer(layer, last_blocks=last_blocks, with_norm=with_norm)
    if name is None:
        return None
    if found := _HEAD_CONV.fullmatch(layer):
        number = (int(found[1]) - 1) * (3 if with_norm else 2) + (norm is not None)
        return f"{name}.{number}.{_ENDING[ending]}"
    pair = ".1" if norm else ".0"
    return f"{name}{pair if with_norm else ''}.{_ENDING[ending]}"


def _rename_layer(layer: str, *, last_blocks: Mapping[int, int], with_norm: bool) -> str | None:
    """The module a blob without its ending belongs to."""
    if found := _FPN.fullmatch(layer):
        inner, stage, block, lateral = found.groups()
        # The topmost inner layer is the only one that is not lateral.
        is_lateral = inner is not None and stage != "5"
        if (lateral is not None) != is_lateral or last_blocks.get(int(stage)) != int(block):
            return None
        return f"backbone.fpn.fpn_{'inner' if inner else 'layer'}{int(stage) - 1}"
    if found := _TOWER.fullmatch(layer):
        return f"rpn.head.{found[1]}_tower.{2 * int(found[2])}"
    if _HEAD_CONV.fullmatch(layer):
        return f"{_BOX}.feature_extractor.xconvs"
    for pattern, name in _LAYERS:
        if found := pattern.fullmatch(layer):
            return str(found.expand(name))
    return None


def _has_stride_in_3x3(weights: Mapping[str, Tensor]) -> bool:
    """Whether the body is one of ResNeXt or group norm, which stride in the 3x3 convolution."""
    inner, grouped = weights.get("res2_0_branch2a_w"), weights.get("res2_0_branch2b_w")
    is_grouped = inner is not None and grouped is not None and len(inner) != grouped.shape[1]
    return "conv1_gn_s" in weights or is_grouped


def _reorder_anchors(weights: dict[str, Tensor]) -> None:
    """Detectron's RetinaNet counts its anchors size by size, the ratios within; here it is ratio by ratio."""
    boxes = weights.get("rpn.head.bbox_pred.bias")
    if boxes is None or len(boxes) % (4 * _RETINANET_RATIOS):
        logger.warning(
            "RetinaNet with other than three aspect ratios: its anchors are taken over in their order"
        )
        return
    anchors = len(boxes) // 4
    order = torch.arange(anchors).view(-1, _RETINANET_RATIOS).t().reshape(-1)  # (O, R) -> (R, O)
    for layer in ("cls_logits", "bbox_pred"):
        for ending in ("weight", "bias"):
            name = f"rpn.head.{layer}.{ending}"
            if name in weights:
                value = weights[name]
                by_anchor = value.view(anchors, -1, *value.shape[1:])
                weights[name] = by_anchor[order].reshape(value.shape)
