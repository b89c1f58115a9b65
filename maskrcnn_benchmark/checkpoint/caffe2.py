"""Weights of Detectron (Caffe2): names of blobs -> names of this package's weights.

Parts that every model has in one place get their whole name. The residual stages get the end that
begins with `layer`, since the last of them (res5) belongs to the body of an FPN model and to the
head of a C4 model: `checkpoint.matching` finds the place by that end.

Arrays are in PyTorch's layout already: convolutions (out, in, height, width), fully connected
(out, in). Frozen norms come as scale and shift alone; the statistics stay 0 and 1.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskrcnn_benchmark.checkpoint.restricted_pickle import read_pickle
from maskrcnn_benchmark.errors import CheckpointError

logger = logging.getLogger(__name__)

_BOX, _MASK, _KEYPOINT = "roi_heads.box", "roi_heads.mask", "roi_heads.keypoint"
_STEM = "backbone.body.stem"

# Blob without its ending (_w, _b: weight, bias; _bn_s, _bn_b, _gn_s, _gn_b: those of a norm).
_LAYERS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"conv1", f"{_STEM}.conv1"),
        (r"conv_rpn(?:_fpn2)?", "rpn.head.conv"),
        (r"rpn_(cls_logits|bbox_pred)(?:_fpn2)?", r"rpn.head.\1"),
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
_FPN = re.compile(r"fpn_(inner_)?res([2-5])_(\d+)_sum(_lateral)?_([wb])")
_ENDING = {"w": "weight", "s": "weight", "b": "bias"}
# The stem has no bias here, the classifier of ImageNet no use; the last is fixed upsampling.
_UNUSED = re.compile(r"(conv1_b|(fc1000|pred|kps_score)_[wb]|.*_momentum)")


def is_unused(blob: str) -> bool:
    """Whether a blob is left out on purpose: momentum, the ImageNet classifier."""
    return _UNUSED.fullmatch(blob) is not None


def rename_blob(blob: str, *, last_blocks: Mapping[int, int]) -> str | None:
    """Return a blob's name here, None for one that is unused or not known.

    Args:
        blob: Detectron's name, such as `res2_0_branch2a_w`.
        last_blocks: stage (2 to 5) -> number of its last block, which FPN's blobs are named after.
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
    if found := _FPN.fullmatch(blob):
        inner, stage, block, lateral, ending = found.groups()
        # The topmost inner layer is the only one that is not lateral.
        is_lateral = inner is not None and stage != "5"
        if (lateral is not None) != is_lateral or last_blocks.get(int(stage)) != int(block):
            return None
        return f"backbone.fpn.fpn_{'inner' if inner else 'layer'}{int(stage) - 1}.{_ENDING[ending]}"
    stem, _, ending = blob.rpartition("_")
    if ending in ("w", "b"):
        for pattern, name in _LAYERS:
            if found := pattern.fullmatch(stem):
                return f"{found.expand(name)}.{_ENDING[ending]}"
    return None


def find_last_blocks(blobs: Mapping[str, Any]) -> dict[int, int]:
    """Return stage -> number of its last block, which tells R-50 from R-101."""
    last: dict[int, int] = {}
    for blob in blobs:
        if found := _BRANCH.fullmatch(blob):
            stage, block = int(found[1]), int(found[2])
            last[stage] = max(block, last.get(stage, 0))
    return last


def read_caffe2(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a Detectron `.pkl` file, without running code from it.

    Returns:
        Name -> tensor, for `checkpoint.matching`.

    Raises:
        CheckpointError: if the file is damaged, asks for more than arrays, or is not Detectron's.
    """
    blobs = _find_blobs(path, read_pickle(path))
    last_blocks = find_last_blocks(blobs)
    weights: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    unknown = []
    for blob, array in blobs.items():
        name = rename_blob(blob, last_blocks=last_blocks)
        if name is None:
            if not is_unused(blob):
                unknown.append(blob)
            continue
        if name in weights:
            raise CheckpointError(
                f"{path}: the blobs {origin[name]} and {blob} both stand for {name}; "
                "expected the weights of one model"
            )
        weights[name], origin[name] = _to_tensor(array), blob
    if not weights:
        raise CheckpointError(
            f"{path}: none of its {len(blobs)} arrays ({', '.join(list(blobs)[:3]) or 'none'}) has "
            "a name that Detectron (Caffe2) gave, such as conv1_w. Pickles of detectron2 are not "
            "read; save the weights of other projects as .pth or .safetensors"
        )
    logger.info("%s holds Detectron weights, %d of %d arrays known", path, len(weights), len(blobs))
    if unknown:
        logger.warning(
            "%d arrays of %s have no counterpart here and are left out: %s",
            len(unknown),
            path,
            ", ".join(unknown[:10]) + (", ..." if len(unknown) > 10 else ""),
        )
    return weights


def _find_blobs(path: str | os.PathLike[str], data: Any) -> dict[str, np.ndarray[Any, Any]]:
    if isinstance(data, dict):
        data = data.get("blobs", data)
    if not isinstance(data, dict):
        raise CheckpointError(
            f"{path} holds a {type(data).__name__}; expected Detectron's weights: a dict of arrays, "
            "alone or under the key 'blobs'"
        )
    return {
        name: value
        for name, value in data.items()
        if isinstance(name, str) and isinstance(value, np.ndarray) and value.dtype.kind in "fiub"
    }


def _to_tensor(array: np.ndarray[Any, Any]) -> Tensor:
    """Copy: the array may be read-only, or in another machine's byte order."""
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
