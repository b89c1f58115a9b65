"""Which weights a model must find in a file, and what to say where it does not.

A detector's file must hold all weights of the model but those of its class layers; a backbone's file, the whole body.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from maskrcnn_benchmark.checkpoint.matching import (
    IMPLIED,
    StateDict,
    WeightMatch,
    examples,
    shape_table,
)
from maskrcnn_benchmark.errors import CheckpointError

# Layers with one output for each class (or keypoint), which are trained anew for other classes.
_CLASS_LAYER = re.compile(
    r"(?:^|\.)(?:cls_score|bbox_pred|mask_fcn_logits|kps_score_lowres)\.(?:weight|bias)$"
)
_RETINANET_TOWER = "rpn.head.cls_tower."
_RETINANET_CLASSES = "rpn.head.cls_logits."
_PROPOSALS = "rpn.head."
_BODY = "backbone.body."
# Deformable convolutions find their offsets anew.
_OFFSETS = ".conv2.offset."


def is_class_layer(name: str, names: Mapping[str, object]) -> bool:
    """Whether the size of a weight depends on the number of classes.

    Args:
        name: of the weight, under this package's names.
        names: all weights of the same model: those of RetinaNet predict classes where others propose regions.
    """
    if name.startswith(_PROPOSALS):
        is_retinanet = any(other.startswith(_RETINANET_TOWER) for other in names)
        return is_retinanet and name.startswith(_RETINANET_CLASSES)
    return _CLASS_LAYER.search(name) is not None


def check_match(
    model_state: StateDict,
    loaded: StateDict,
    match: WeightMatch,
    *,
    is_detector: bool,
    source: str,
    allow_other_classes: bool,
) -> None:
    """Refuse a file that lacks what the model needs.

    Args:
        model_state: name -> tensor of the model.
        loaded: name -> tensor of the file.
        match: what of the file goes where.
        is_detector: whether the file should hold a whole detector; else its backbone counts.
        source: the file, for messages.
        allow_other_classes: whether class layers of another size are left as they are.

    Raises:
        CheckpointError: with the names, both shapes, and how to go on.
    """
    classes = {key for key in model_state if is_class_layer(key, model_state)}
    other_classes = {key: end for key, end in match.mismatched.items() if key in classes}
    others = {key: end for key, end in match.mismatched.items() if key not in classes}
    if others:
        raise CheckpointError(
            f"{source}: these weights have another shape than the model's:{shape_table(model_state, loaded, others)}"
            f"{_remark_on_classes(model_state, loaded, other_classes)}\n"
            "Use the configuration that the weights were trained with (depth, width, heads)"
        )
    if other_classes and not allow_other_classes:
        raise CheckpointError(
            f"{source}: these weights have another shape than the model's:"
            f"{shape_table(model_state, loaded, other_classes)}"
            f"{_remark_on_classes(model_state, loaded, other_classes)}\n{_HOW_TO_GO_ON}"
        )
    needed = [
        key
        for key in match.missing
        if key not in classes and not IMPLIED.search(key) and (is_detector or key.startswith(_BODY))
    ]
    if not is_detector:
        # A file of something else, or of one's own making, promises no body.
        has_body = any(key.startswith(_BODY) for key in match.pairs)
        needed = [key for key in needed if has_body and _OFFSETS not in key]
    if needed:
        what = "detector" if is_detector else "backbone"
        raise CheckpointError(
            f"{source} lacks {len(needed)} weights of the network, the first is {needed[0]}; a {what} that is not "
            f"fully trained predicts noise. {len(match.pairs)} weights fit; {len(match.unexpected)} of the file have "
            f"no place in the network{examples(match.unexpected)}. Use the configuration that the weights were "
            "trained with; to take over the backbone alone: maskrcnn convert --backbone-only IN OUT"
        )


_HOW_TO_GO_ON = (
    "To use these classes, set MODEL.ROI_BOX_HEAD.NUM_CLASSES (of RetinaNet: MODEL.RETINANET.NUM_CLASSES) to the "
    "file's number, background included. To train others from these weights: maskrcnn convert --drop-heads IN OUT"
)


def describe_other_classes(
    model_state: StateDict, loaded: StateDict, mismatched: Mapping[str, str]
) -> str:
    """`the file has 80 classes + background, the model 3 + background`, or "" where that is not the difference."""
    for key, end in mismatched.items():
        own, other = _classes_of(key, model_state), _classes_of(key, loaded, name=end)
        if own and other and own != other:
            if "kps_score" in key:
                return f"the file has {other} keypoints, the model {own}"
            return (
                f"the file has {other - 1} classes + background, the model {own - 1} + background"
            )
    return ""


def _remark_on_classes(
    model_state: StateDict, loaded: StateDict, mismatched: Mapping[str, str]
) -> str:
    found = describe_other_classes(model_state, loaded, mismatched)
    if found:
        return f"\n{found[0].upper()}{found[1:]}"
    if any("bbox_pred" in key for key in mismatched):
        return (
            "\nThe number of classes is the same; boxes are predicted for each class in one and for all alike in the "
            "other (MODEL.CLS_AGNOSTIC_BBOX_REG)"
        )
    return ""


def _classes_of(key: str, state: Mapping[str, Tensor], *, name: str = "") -> int:
    """Labels (background included) or keypoints that a layer predicts; 0 where that cannot be told."""
    rows = state[name or key].shape
    if key.startswith(_PROPOSALS):
        anchors = state.get("rpn.head.bbox_pred.bias")
        return 0 if anchors is None else rows[0] * 4 // len(anchors) + 1
    if "kps_score" in key:
        # A transposed convolution: (in, out, 4, 4).
        return rows[1] if len(rows) == 4 else rows[0]
    return 0 if "bbox_pred" in key else rows[0]


def check_finite(loaded: Mapping[str, Tensor], *, source: str) -> None:
    """Refuse weights that are not numbers: everything computed from them would be none either.

    Raises:
        CheckpointError: naming the first such weight.
    """
    bad = [name for name, value in loaded.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise CheckpointError(
            f"{source}: {len(bad)} of its {len(loaded)} weights hold values that are not finite (NaN or infinite), the "
            f"first is {bad[0]}. The training that wrote it had diverged; take an earlier checkpoint"
        )
