"""tensorpack: ImageNet ResNets (`ImageNet-R50-AlignPadding.npz`) and Faster and Mask R-CNN.

Convolutions are (height, width, in, out), transposed ones (height, width, out, in), fully connected layers
(in, out); masks have no channel for the background.
"""

from __future__ import annotations

import re

from torch import Tensor

from maskrcnn_benchmark.checkpoint.dialects.base import Converted, Shapes
from maskrcnn_benchmark.checkpoint.dialects.layouts import add_background, fold_epsilon, variances

_BOX, _MASK = "roi_heads.box", "roi_heads.mask"
_BODY = re.compile(r"group(\d)/block(\d+)/(?:conv([123])|convshortcut)(?:/(bn|gn))?")
_STEM = re.compile(r"conv0(?:/(bn|gn))?")
_FPN = re.compile(r"fpn/(lateral_1x1_c|posthoc_3x3_p|gn_c|gn_p)(\d)")
_STACK = re.compile(r"(fastrcnn|maskrcnn)/(conv|fcn|gn)(\d+)")
# Stages count from 1; here from 0.
_CASCADE = re.compile(r"cascade_rcnn_stage(\d)/(?:head|outputs)/(fc6|fc7|class|box)")
_CASCADE_LAYERS = {
    "fc6": "feature_extractor.fc6",
    "fc7": "feature_extractor.fc7",
    "class": "predictor.cls_score",
    "box": "predictor.bbox_pred",
}
_FIXED = {
    "rpn/conv0": "rpn.head.conv",
    "rpn/class": "rpn.head.cls_logits",
    "rpn/box": "rpn.head.bbox_pred",
    "fastrcnn/fc6": f"{_BOX}.feature_extractor.fc6",
    "fastrcnn/fc7": f"{_BOX}.feature_extractor.fc7",
    "fastrcnn/fc": f"{_BOX}.feature_extractor.fc6",
    "fastrcnn/outputs/class": f"{_BOX}.predictor.cls_score",
    "fastrcnn/outputs/box": f"{_BOX}.predictor.bbox_pred",
    "fastrcnn/class": f"{_BOX}.predictor.cls_score",
    "fastrcnn/box": f"{_BOX}.predictor.bbox_pred",
    "maskrcnn/deconv": f"{_MASK}.predictor.conv5_mask",
    "maskrcnn/conv": f"{_MASK}.predictor.mask_fcn_logits",
}
_ENDINGS = {
    "W": "weight",
    "b": "bias",
    "gamma": "weight",
    "beta": "bias",
    "mean/EMA": "running_mean",
    "variance/EMA": "running_var",
}
_VARIABLE = re.compile(rf"(.+)/({'|'.join(_ENDINGS)})")
_DETECTOR = ("rpn.", "roi_heads.")


def recognise(names: Shapes) -> bool:
    """Whether the stem or the proposal network has its name."""
    plain = {name.removesuffix(":0") for name in names}
    return bool({"conv0/W", "group0/block0/conv1/W", "rpn/conv0/W"} & plain)


def convert(weights: dict[str, Tensor]) -> Converted:
    """Rename, and bring every array into PyTorch's layout."""
    plain = {name.removesuffix(":0"): value for name, value in weights.items()}
    normed = {f"{found[1]}{found[2]}" for found in map(_NORM_LAYER.match, plain) if found}
    converted: dict[str, Tensor] = {}
    unused = []
    for variable, value in plain.items():
        name = _rename(variable, normed=normed)
        if name is None:
            unused.append(variable)
        else:
            converted[name] = fold_epsilon(name, _rearrange(variable, value))
    return Converted(
        dialect="tensorpack",
        weights=converted,
        settings=(
            ("MODEL.NUMERICS", "tensorpack"),
            ("INPUT.TO_BGR255", True),
            ("INPUT.PIXEL_MEAN", (103.53, 116.28, 123.675)),
            ("INPUT.PIXEL_STD", (57.375, 57.12, 58.395)),
            ("MODEL.RESNETS.STRIDE_IN_1X1", False),
        ),
        is_detector=any(name.startswith(_DETECTOR) for name in converted),
        unused=tuple(unused),
        folded=variances(converted),
    )


# Layers with a group norm of their own: fpn/gn_c2, fastrcnn/gn0, maskrcnn/gn0.
_NORM_LAYER = re.compile(r"(fpn|fastrcnn|maskrcnn)/gn(_[cp]\d|\d+)/gamma")


def _rename(variable: str, *, normed: set[str]) -> str | None:
    parts = _VARIABLE.fullmatch(variable)
    if parts is None:
        return None
    layer, ending = parts[1], _ENDINGS[parts[2]]
    if found := _STEM.fullmatch(layer):
        return f"backbone.body.stem.{'bn1' if found[1] else 'conv1'}.{ending}"
    if found := _BODY.fullmatch(layer):
        group, block, number, norm = found.groups()
        part = (
            f"{'bn' if norm else 'conv'}{number}"
            if number
            else f"downsample.{int(norm is not None)}"
        )
        return f"layer{int(group) + 1}.{block}.{part}.{ending}"
    if found := _FPN.fullmatch(layer):
        kind, level = found.groups()
        side = kind[-1]  # c: before the sum, p: after it
        module = f"backbone.fpn.fpn_{'inner' if side == 'c' else 'layer'}{int(level) - 1}"
        return f"{module}{_pair(kind.startswith('gn'), f'fpn_{side}{level}' in normed)}.{ending}"
    if found := _STACK.fullmatch(layer):
        return _rename_stacked(*found.groups(), ending=ending, normed=normed)
    if found := _CASCADE.fullmatch(layer):
        return f"{_BOX}.stages.{int(found[1]) - 1}.{_CASCADE_LAYERS[found[2]]}.{ending}"
    return f"{_FIXED[layer]}.{ending}" if layer in _FIXED else None


def _rename_stacked(head: str, kind: str, number: str, *, ending: str, normed: set[str]) -> str:
    """The convolutions of a head, which are counted from 0."""
    with_norm = f"{head}{number}" in normed
    if head == "maskrcnn":
        module = f"{_MASK}.feature_extractor.mask_fcn{int(number) + 1}"
        return f"{module}{_pair(kind == 'gn', with_norm)}.{ending}"
    position = int(number) * (3 if with_norm else 2) + (kind == "gn")
    return f"{_BOX}.feature_extractor.xconvs.{position}.{ending}"


def _pair(is_norm: bool, with_norm: bool) -> str:
    return f".{int(is_norm)}" if with_norm else ""


def _rearrange(variable: str, value: Tensor) -> Tensor:
    if variable.endswith("/W"):
        value = value.permute(3, 2, 0, 1) if value.dim() == 4 else value.t()
    if variable.startswith("maskrcnn/conv/"):
        value = add_background(value)
    if (
        variable.rpartition("/")[0].endswith("/box")
        and not variable.startswith("rpn/")
        and len(value) == 4
    ):
        value = add_background(value, per_class=4)  # one box for all classes
    return value.contiguous()
