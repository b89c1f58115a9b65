"""Files as Detectron wrote them: its names for a model's weights, pickled as Python 2 did."""

from __future__ import annotations

import pickle
import re
import struct
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
    """What an R-50 model of Detectron calls a weight of ours; None: it has none such."""
    if key.endswith(("running_mean", "running_var", "num_batches_tracked")) or "anchor" in key:
        return None
    if key in _FIXED:
        return _FIXED[key]
    if found := re.search(r"layer(\d)\.(\d+)\.(.*)", key):
        return f"res{int(found[1]) + 1}_{found[2]}_{_PARTS[found[3]]}"
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


def to_blobs(state: dict[str, Tensor], *, fpn: bool) -> dict[str, Any]:
    """Name -> array, with the momentum that Detectron keeps beside each."""
    blobs: dict[str, Any] = {}
    for key, value in state.items():
        name = detectron_name(key, fpn=fpn)
        if name is not None:
            blobs[name] = value.numpy().copy()
            blobs[f"{name}_momentum"] = np.zeros_like(blobs[name])
    return blobs


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
