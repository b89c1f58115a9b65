"""Files as Detectron wrote them: its names for a model's weights, pickled as Python 2 did."""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

_FIXED = {
    "backbone.body.stem.conv1.weight": "conv1_w",
    "backbone.body.stem.bn1.weight": "res_conv1_bn_s",
    "backbone.body.stem.bn1.bias": "res_conv1_bn_b",
    "backbone.fpn.fpn_inner4": "fpn_inner_res5_2_sum",
    "backbone.fpn.fpn_inner3": "fpn_inner_res4_5_sum_lateral",
    "backbone.fpn.fpn_inner2": "fpn_inner_res3_3_sum_lateral",
    "backbone.fpn.fpn_inner1": "fpn_inner_res2_2_sum_lateral",
    "backbone.fpn.fpn_layer4": "fpn_res5_2_sum",
    "backbone.fpn.fpn_layer3": "fpn_res4_5_sum",
    "backbone.fpn.fpn_layer2": "fpn_res3_3_sum",
    "backbone.fpn.fpn_layer1": "fpn_res2_2_sum",
}
_PARTS = {
    "downsample.0.weight": "branch1_w",
    "downsample.1.weight": "branch1_bn_s",
    "downsample.1.bias": "branch1_bn_b",
    "conv1.weight": "branch2a_w",
    "conv2.weight": "branch2b_w",
    "conv3.weight": "branch2c_w",
    "bn1.weight": "branch2a_bn_s",
    "bn2.weight": "branch2b_bn_s",
    "bn3.weight": "branch2c_bn_s",
    "bn1.bias": "branch2a_bn_b",
    "bn2.bias": "branch2b_bn_b",
    "bn3.bias": "branch2c_bn_b",
}
_RPN = {"conv": "conv_rpn", "cls_logits": "rpn_cls_logits", "bbox_pred": "rpn_bbox_pred"}


def detectron_name(key: str, *, fpn: bool) -> str | None:
    """What an R-50 model of Detectron calls a weight of ours without norms of its heads; None: it has none such."""
    if key.endswith(("running_mean", "running_var", "num_batches_tracked")) or "anchor" in key:
        return None
    if key in _FIXED:
        return _FIXED[key]
    if found := re.search(r"layer(\d)\.(\d+)\.(.*)", key):
        part = found[3].replace("conv2.conv.", "conv2.")
        return f"res{int(found[1]) + 1}_{found[2]}_{_PARTS[part]}" if part in _PARTS else None
    layer, ending = key.rsplit(".", 1)
    ending = ending[0]
    if layer in _FIXED:
        return f"{_FIXED[layer]}_{ending}"
    last = layer.rsplit(".", 1)[1]
    if layer.startswith("rpn.head."):
        return f"{_RPN[last]}{'_fpn2' if fpn else ''}_{ending}"
    if re.fullmatch(r"mask_fcn\d", last):
        return f"_[mask]_{last.removeprefix('mask_')}_{ending}"
    return f"{last}_{ending}"


def group_norm_name(key: str, *, fpn: bool) -> str | None:
    """What a model with group norm in body, pyramid and heads calls a weight."""
    if found := re.search(r"xconvs\.(\d+)\.(\w+)", key):
        number, place = divmod(int(found[1]), 3)
        return f"head_conv{number + 1}{_gn(place, found[2])}"
    if found := re.fullmatch(r"(.+\.(?:fpn_\w+|mask_fcn\d))\.([01])\.(\w+)", key):
        bare = detectron_name(f"{found[1]}.weight", fpn=fpn)
        assert bare is not None
        return f"{bare.removesuffix('_w')}{_gn(int(found[2]), found[3])}"
    name = detectron_name(key, fpn=fpn)
    if name is None:
        return None
    return name.replace("res_conv1_bn_", "conv1_gn_").replace("_bn_", "_gn_")


def _gn(place: int, ending: str) -> str:
    return "_w" if place == 0 else {"weight": "_gn_s", "bias": "_gn_b"}[ending]


def retinanet_name(key: str, *, fpn: bool) -> str | None:
    """What RetinaNet calls a weight; its FPN has no level 2."""
    if found := re.search(r"top_blocks\.p(\d)\.(\w)", key):
        return f"fpn_{found[1]}_{found[2]}"
    if found := re.search(r"(cls|bbox)_tower\.(\d+)\.(\w)", key):
        return f"retnet_{found[1]}_conv_n{int(found[2]) // 2}_fpn3_{found[3]}"
    if found := re.fullmatch(r"rpn\.head\.(cls|bbox)_(?:logits|pred)\.(\w)\w+", key):
        return f"retnet_{found[1]}_pred_fpn3_{found[2]}"
    return detectron_name(key, fpn=fpn)


NameOf = Callable[..., "str | None"]


def to_blobs(
    state: dict[str, Tensor], *, fpn: bool, name_of: NameOf = detectron_name
) -> dict[str, Any]:
    """Name -> array, with the momentum that Detectron keeps beside each."""
    blobs: dict[str, Any] = {}
    for key, value in state.items():
        name = name_of(key, fpn=fpn)
        if name is None:
            continue
        if name.startswith(("retnet_cls_pred", "retnet_bbox_pred")):
            value = _by_size(value)
        blobs[name] = value.numpy().copy()
        blobs[f"{name}_momentum"] = np.zeros_like(blobs[name])
    return blobs


def _by_size(value: Tensor) -> Tensor:
    """Outputs for 9 anchors, 3 sizes of each ratio in turn -> 3 ratios of each size in turn."""
    split = value.view(3, 3, -1, *value.shape[1:])  # (ratios, sizes, numbers, ...)
    return split.transpose(0, 1).reshape(value.shape)


class _Python2Pickler(pickle._Pickler):
    """Protocol 2 with text and bytes alike as byte strings, and numpy's old module names."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def _save_string(self, text: str | bytes) -> None:
        data = text.encode("latin1") if isinstance(text, str) else text
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(text)

    dispatch[str] = _save_string
    dispatch[bytes] = _save_string

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module = obj.__module__.replace("numpy._core", "numpy.core")
        self.write(f"c{module}\n{name or obj.__qualname__}\n".encode())
        self.memoize(obj)


def write_as_python2(path: Path, data: Any) -> None:
    with open(path, "wb") as file:
        _Python2Pickler(file, 2).dump(data)
