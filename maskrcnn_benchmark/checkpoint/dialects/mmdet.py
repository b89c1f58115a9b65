"""mmdetection: Faster, Mask R-CNN and RetinaNet on ResNets, and their backbones.

Version 2 and later: the background is the last class of `fc_cls`, and boxes and masks have none. Version 1: it is
the first class everywhere, as here. The shapes tell them apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from maskrcnn_benchmark.checkpoint.dialects.base import Converted, Shapes
from maskrcnn_benchmark.checkpoint.dialects.layouts import (
    add_background,
    fold_epsilon,
    move_background_first,
    variances,
)

_BOX, _MASK = "roi_heads.box", "roi_heads.mask"
_OWN = (
    "neck.lateral_convs.",
    "neck.fpn_convs.",
    "rpn_head.rpn_",
    "roi_head.",
    "bbox_head.fc_",
    "bbox_head.retina_",
)
_NORM_NAMES = r"(?:conv|bn|gn|norm)"
_NECK = re.compile(rf"neck\.(lateral|fpn)_convs\.(\d+)\.({_NORM_NAMES})\.(.+)")
_STACK = re.compile(rf"(bbox|mask)_head\.(?:shared_)?convs\.(\d+)\.({_NORM_NAMES})\.(.+)")
_TOWER = re.compile(r"bbox_head\.(cls|reg)_convs\.(\d+)\.conv\.(.+)")
_BODY = re.compile(r"(?:backbone|shared_head)\.(layer\d\.\d+\..+)")
_STEM = re.compile(r"backbone\.((?:conv|bn)1\..+)")
_FIXED = (
    ("rpn_head.rpn_conv.", "rpn.head.conv."),
    ("rpn_head.rpn_cls.", "rpn.head.cls_logits."),
    ("rpn_head.rpn_reg.", "rpn.head.bbox_pred."),
    ("bbox_head.shared_fcs.0.", f"{_BOX}.feature_extractor.fc6."),
    ("bbox_head.shared_fcs.1.", f"{_BOX}.feature_extractor.fc7."),
    ("bbox_head.fc_cls.", f"{_BOX}.predictor.cls_score."),
    ("bbox_head.fc_reg.", f"{_BOX}.predictor.bbox_pred."),
    ("bbox_head.retina_cls.", "rpn.head.cls_logits."),
    ("bbox_head.retina_reg.", "rpn.head.bbox_pred."),
    ("mask_head.upsample.", f"{_MASK}.predictor.conv5_mask."),
    ("mask_head.conv_logits.", f"{_MASK}.predictor.mask_fcn_logits."),
)
# Cascade R-CNN numbers its heads: bbox_head.0.fc_cls.
_CASCADE = re.compile(r"bbox_head\.(\d)\.(.+)")
_DETECTOR = ("rpn.", "roi_heads.")
# How the images are normalised and where the body strides, in the configuration that lies in a checkpoint.
_NORMALISATION = re.compile(r"\b(mean|std)\s*=\s*[\[(]([^\])]+)[\])]")
_IS_RGB = re.compile(r"\b(?:to_rgb|bgr_to_rgb)\s*=\s*(True|False)")
_STYLE = re.compile(r"\bstyle\s*=\s*['\"](pytorch|caffe)['\"]")


def recognise(names: Shapes) -> bool:
    """Whether a neck or head has its name, or the body lies right below `backbone`."""
    return (
        any(name.startswith(_OWN) for name in names)
        or {
            "backbone.conv1.weight",
            "backbone.layer1.0.conv1.weight",
        }
        <= names.keys()
    )


def convert(weights: dict[str, Tensor]) -> Converted:
    """Rename, and bring the classes into this package's order."""
    plain = {name.removeprefix("roi_head."): value for name, value in weights.items()}
    rename = _Renaming(plain)
    converted: dict[str, Tensor] = {}
    unused = []
    for old, value in plain.items():
        name = rename(old)
        if name is None:
            unused.append(old)
        else:
            converted[name] = fold_epsilon(name, value)
    if _is_background_last(plain):
        converted = {name: _reorder_classes(name, value) for name, value in converted.items()}
    return Converted(
        dialect="mmdet",
        weights=converted,
        settings=_settings(plain),
        is_detector=any(name.startswith(_DETECTOR) for name in converted),
        unused=tuple(unused),
        folded=variances(converted),
    )


def refine(converted: Converted, meta: Any) -> Converted:
    """Take normalisation and strides from the configuration that mmdetection keeps in a checkpoint.

    Args:
        converted: what `convert` returned.
        meta: what lies under the key `meta`.
    """
    text = meta.get("config") if isinstance(meta, dict) else None
    if not isinstance(text, str):
        return converted
    settings = dict(converted.settings)
    numbers = dict(_NORMALISATION.findall(text))
    is_rgb = _IS_RGB.search(text)
    if is_rgb is not None and {"mean", "std"} <= numbers.keys():
        scale = 255.0 if is_rgb[1] == "True" else 1.0
        settings["INPUT.TO_BGR255"] = is_rgb[1] == "False"
        for key in ("mean", "std"):
            values = (float(number) / scale for number in numbers[key].split(","))
            settings[f"INPUT.PIXEL_{key.upper()}"] = tuple(round(value, 6) for value in values)
    if style := _STYLE.search(text):
        settings["MODEL.RESNETS.STRIDE_IN_1X1"] = style[1] == "caffe"
    return replace(converted, settings=tuple(settings.items()))


class _Renaming:
    """Its names -> ours, for the weights of one model."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights
        self._laterals = sum(
            name.startswith("neck.lateral_convs.") and name.endswith(".conv.weight")
            for name in weights
        )
        self._first_level = _find_first_level(weights)

    def __call__(self, name: str) -> str | None:
        if found := _BODY.fullmatch(name):
            return _rename_deformable(found[1], self._weights, old=name)
        if found := _STEM.fullmatch(name):
            return f"backbone.body.stem.{found[1]}"
        if found := _NECK.fullmatch(name):
            return self._rename_neck(*found.groups())
        if found := _TOWER.fullmatch(name):
            kind = {"cls": "cls", "reg": "bbox"}[found[1]]
            return f"rpn.head.{kind}_tower.{2 * int(found[2])}.{found[3]}"
        if found := _STACK.fullmatch(name):
            return self._rename_stacked(name, *found.groups())
        if found := _CASCADE.fullmatch(name):
            own = self(f"bbox_head.{found[2]}")
            return own and own.replace(f"{_BOX}.", f"{_BOX}.stages.{found[1]}.", 1)
        for start, own in _FIXED:
            if name.startswith(start):
                return own + name.removeprefix(start)
        return None

    def _rename_neck(self, side: str, number: str, kind: str, ending: str) -> str:
        index = int(number)
        if side == "fpn" and index >= self._laterals:
            return f"backbone.fpn.top_blocks.p{6 + index - self._laterals}.{ending}"
        module = f"backbone.fpn.fpn_{'inner' if side == 'lateral' else 'layer'}{self._first_level + index}"
        prefix = f"neck.{side}_convs.{number}."
        return f"{module}{self._pair(prefix, kind)}.{ending}"

    def _rename_stacked(self, name: str, head: str, number: str, kind: str, ending: str) -> str:
        prefix = name[: name.rindex(f".{kind}.") + 1]
        if head == "mask":
            module = f"{_MASK}.feature_extractor.mask_fcn{int(number) + 1}"
            return f"{module}{self._pair(prefix, kind)}.{ending}"
        position = int(number) * (3 if self._has_norm(prefix) else 2) + (kind != "conv")
        return f"{_BOX}.feature_extractor.xconvs.{position}.{ending}"

    def _pair(self, prefix: str, kind: str) -> str:
        return f".{int(kind != 'conv')}" if self._has_norm(prefix) else ""

    def _has_norm(self, prefix: str) -> bool:
        return any(f"{prefix}{norm}.weight" in self._weights for norm in ("bn", "gn", "norm"))


def _find_first_level(weights: Mapping[str, Tensor]) -> int:
    """The stage of the body that the neck's first layer reads: 1, or 2 for RetinaNet."""
    first = weights.get("neck.lateral_convs.0.conv.weight")
    for stage in range(1, 5):
        out = weights.get(f"backbone.layer{stage}.0.downsample.0.weight")
        if first is not None and out is not None and first.shape[1] == len(out):
            return stage
    return 2 if any("retina_" in name for name in weights) else 1


def _rename_deformable(own: str, weights: Mapping[str, Tensor], *, old: str) -> str:
    """`conv2` of a deformable block holds the convolution and the one that finds the offsets."""
    if ".conv2.conv_offset." in own:
        return own.replace(".conv2.conv_offset.", ".conv2.offset.")
    if (
        own.endswith(".conv2.weight")
        and f"{old.removesuffix('weight')}conv_offset.weight" in weights
    ):
        return own.replace(".conv2.weight", ".conv2.conv.weight")
    return own


def _is_background_last(weights: Mapping[str, Tensor]) -> bool:
    """Version 2: as many boxes as classes without background, or one; version 1 had a box for the background too."""
    head = "bbox_head." if "bbox_head.fc_cls.bias" in weights else "bbox_head.0."
    scores, boxes = weights.get(f"{head}fc_cls.bias"), weights.get(f"{head}fc_reg.bias")
    return scores is not None and boxes is not None and len(boxes) != 4 * len(scores)


def _reorder_classes(name: str, value: Tensor) -> Tensor:
    if ".predictor.cls_score." in name:
        return move_background_first(value)
    if ".predictor.bbox_pred." in name:
        return add_background(value, per_class=4)
    return add_background(value) if ".predictor.mask_fcn_logits." in name else value


def _settings(weights: Mapping[str, Tensor]) -> tuple[tuple[str, Any], ...]:
    settings: list[tuple[str, Any]] = [
        ("MODEL.NUMERICS", "mmdet"),
        # Of models with `style='pytorch'`, which nearly all are.
        ("INPUT.TO_BGR255", False),
        ("INPUT.PIXEL_MEAN", (0.485, 0.456, 0.406)),
        ("INPUT.PIXEL_STD", (0.229, 0.224, 0.225)),
        ("MODEL.RESNETS.STRIDE_IN_1X1", False),
    ]
    if "bbox_head.retina_cls.weight" in weights:
        settings.append(("MODEL.RETINANET.BBOX_REG_WEIGHTS", (1.0, 1.0, 1.0, 1.0)))
        settings.append(("MODEL.RETINANET.NMS_TH", 0.5))
    return tuple(settings)
