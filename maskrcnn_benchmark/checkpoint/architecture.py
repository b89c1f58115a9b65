"""What a network must look like for these weights: configuration keys out of names and shapes alone.

For ResNet detectors under this package's names. What shapes do not show (strides, thresholds, numerics) is left to the
dialect and the defaults.

C: classes, background included.    A: anchors of one cell.
"""

from __future__ import annotations

import math
import re
from typing import Any

from maskrcnn_benchmark.checkpoint.dialects.base import Settings, Shapes
from maskrcnn_benchmark.errors import CheckpointError

# Blocks in stages 1 to 3, and whether they are bottlenecks -> depth.
_DEPTHS = {
    (2, 2, 2, False): 18,
    (3, 4, 6, False): 34,
    (3, 4, 6, True): 50,
    (3, 4, 23, True): 101,
    (3, 8, 36, True): 152,
}
_BLOCK = re.compile(r"(?:.*\.)?layer([1-4])\.(\d+)\..+")
_BODY = "backbone.body."
_BOX, _MASK, _KEYPOINT = "roi_heads.box.", "roi_heads.mask.", "roi_heads.keypoint."
_HEAD_SCALES = (0.25, 0.125, 0.0625, 0.03125)
# What shapes do not show, as all published models have it.
_RATIOS = 3
_MASK_POOL, _KEYPOINT_POOL = 14, 14
_FIRST_SIZES = (32, 64, 128, 256, 512)


def infer_architecture(shapes: Shapes, *, trained_norm: bool | None = None) -> Settings:
    """Configuration keys and values that make a network of these shapes.

    Args:
        shapes: name -> shape, in this package's names; names of a body may lack what is in front of `stem` and
            `layer`.
        trained_norm: whether the body's batch norms are trainable; None: if they count their batches.

    Raises:
        CheckpointError: if the body is no ResNet of a known depth.
    """
    if trained_norm is None:
        trained_norm = any(name.endswith(".num_batches_tracked") for name in shapes)
    settings = _body(shapes, trained_norm=trained_norm)
    if any(name.startswith("rpn.head.cls_tower.") for name in shapes):
        settings |= _retinanet(shapes)
    else:
        settings |= _proposals(shapes)
        settings |= _box_head(shapes)
        settings |= _mask_head(shapes)
        settings |= _keypoint_head(shapes)
    return tuple(settings.items())


def _body(shapes: Shapes, *, trained_norm: bool) -> dict[str, Any]:
    stem = _find(shapes, "stem.conv1.weight")
    conv2 = _find(shapes, "layer1.0.conv2.weight") or _find(shapes, "layer1.0.conv2.conv.weight")
    conv1 = _find(shapes, "layer1.0.conv1.weight")
    if stem is None or conv1 is None or conv2 is None:
        raise CheckpointError(
            "the weights do not show how their network is built: expected a ResNet (stem.conv1, layer1.0.conv1, ...). "
            "Give the configuration it was trained with"
        )
    conv3 = _find(shapes, "layer1.0.conv3.weight")
    first = (conv3 or conv1)[0]
    kind = _kind(shapes)
    body = {
        "MODEL.BACKBONE.CONV_BODY": f"R-{_depth(shapes, is_bottleneck=conv3 is not None)}-{kind}",
        "MODEL.RESNETS.STEM_OUT_CHANNELS": stem[0],
        "MODEL.RESNETS.NUM_GROUPS": conv2[0] // conv2[1] if conv3 else 1,
        "MODEL.RESNETS.WIDTH_PER_GROUP": conv2[1] if conv3 else first,
        "MODEL.RESNETS.RES2_OUT_CHANNELS": first,
        "MODEL.RESNETS.NORM": _body_norm(shapes, trained_norm=trained_norm),
        # Groups came with weights that stride in the 3x3 convolution; so did group normalisation.
        "MODEL.RESNETS.STRIDE_IN_1X1": conv3 is not None
        and conv2[0] == conv2[1]
        and _body_norm(shapes, trained_norm=trained_norm) == "FrozenBN",
    }
    if stem[1] != 3:
        body["INPUT.CHANNELS"] = stem[1]
    body |= _deformable(shapes)
    lateral = shapes.get("backbone.fpn.fpn_inner2.weight") or shapes.get(
        "backbone.fpn.fpn_inner2.0.weight"
    )
    if "FPN" in kind:
        body["MODEL.RESNETS.BACKBONE_OUT_CHANNELS"] = lateral[0] if lateral else 256
        body["DATALOADER.SIZE_DIVISIBILITY"] = 32
        body["MODEL.FPN.NORM"] = _sequence_norm(shapes, "backbone.fpn.fpn_inner2")
    else:
        body["MODEL.RESNETS.BACKBONE_OUT_CHANNELS"] = first * (8 if kind == "C5" else 4)
    return body


def _find(shapes: Shapes, end: str) -> tuple[int, ...] | None:
    """Shape of a weight of the body, whatever its name begins with."""
    for start in (_BODY, "body.", ""):
        if start + end in shapes:
            return shapes[start + end]
    return None


def _kind(shapes: Shapes) -> str:
    if any(name.startswith("backbone.fpn.fpn_inner1.") for name in shapes):
        return "FPN"
    if any(name.startswith("backbone.fpn.") for name in shapes):
        return "FPN-RETINANET"
    heads = any(name.startswith((_BOX, "rpn.")) for name in shapes)
    has_c4_head = any(".feature_extractor.head.layer4." in name for name in shapes)
    stage4 = any(name.startswith(f"{_BODY}layer4.") for name in shapes)
    return "C5" if stage4 and heads and not has_c4_head else "C4"


def _depth(shapes: Shapes, *, is_bottleneck: bool) -> int:
    counts = [0, 0, 0, 0]
    for name in shapes:
        if found := _BLOCK.fullmatch(name):
            stage, block = int(found[1]), int(found[2])
            counts[stage - 1] = max(counts[stage - 1], block + 1)
    depth = _DEPTHS.get((counts[0], counts[1], counts[2], is_bottleneck))
    if depth is None:
        raise CheckpointError(
            f"the weights are of a ResNet with {', '.join(map(str, counts[:3]))} "
            f"{'bottleneck' if is_bottleneck else 'basic'} blocks in stages 1 to 3; expected those of ResNet-18, -34, "
            "-50, -101 or -152. Give the configuration it was trained with"
        )
    return depth


def _body_norm(shapes: Shapes, *, trained_norm: bool) -> str:
    if any(name.endswith("bn1.running_mean") for name in shapes):
        return "BN" if trained_norm else "FrozenBN"
    # Detectron's frozen norms have no statistics. A group norm has none either; its networks have more of them.
    has_group_norm = any(
        name.endswith(("fpn_inner2.1.weight", "mask_fcn1.1.weight")) for name in shapes
    )
    return "GN" if has_group_norm else "FrozenBN"


def _sequence_norm(shapes: Shapes, part: str) -> str:
    """Norm behind a layer: the second of a Sequential."""
    if f"{part}.1.weight" not in shapes:
        return ""
    return "BN" if f"{part}.1.running_mean" in shapes else "GN"


def _deformable(shapes: Shapes) -> dict[str, Any]:
    offsets = {
        int(found[1]): shape[0]
        for name, shape in shapes.items()
        if (found := re.fullmatch(r"(?:.*\.)?layer([1-4])\.0\.conv2\.offset\.weight", name))
    }
    if not offsets:
        return {}
    channels = next(iter(offsets.values()))
    # 18 numbers for each group of channels (dx and dy of 9 points), 27 with a weight for each point.
    is_modulated = channels % 27 == 0
    return {
        "MODEL.RESNETS.STAGE_WITH_DCN": tuple(stage in offsets for stage in (1, 2, 3, 4)),
        "MODEL.RESNETS.WITH_MODULATED_DCN": is_modulated,
        "MODEL.RESNETS.DEFORMABLE_GROUPS": channels // (27 if is_modulated else 18),
    }


def _proposals(shapes: Shapes) -> dict[str, Any]:
    logits = shapes.get("rpn.head.cls_logits.weight")
    if logits is None:
        return {}
    is_pyramid = "FPN" in _kind(shapes)
    per_level = max(1, logits[0] // _RATIOS)
    convs = [name for name in shapes if re.fullmatch(r"rpn\.head\.conv\.\d+\.weight", name)]
    stride = 32 if _kind(shapes) == "C5" else 16
    return {
        "MODEL.RPN.USE_FPN": is_pyramid,
        "MODEL.RPN.ANCHOR_STRIDE": (4, 8, 16, 32, 64) if is_pyramid else (stride,),
        "MODEL.RPN.ANCHOR_SIZES": _FIRST_SIZES if is_pyramid else _FIRST_SIZES[-per_level:],
        "MODEL.RPN.NUM_CONVS": max(1, len(convs)),
        "MODEL.RPN_ONLY": not any(name.startswith(_BOX) for name in shapes),
    }


def _box_head(shapes: Shapes) -> dict[str, Any]:
    stages = {
        int(found[1])
        for name in shapes
        if (found := re.match(r"roi_heads\.box\.stages\.(\d+)\.", name))
    }
    box = f"{_BOX}stages.0." if stages else _BOX
    scores = shapes.get(f"{box}predictor.cls_score.weight")
    boxes = shapes.get(f"{box}predictor.bbox_pred.weight")
    if scores is None or boxes is None:
        return {}
    settings = {
        "MODEL.ROI_BOX_HEAD.NUM_CLASSES": scores[0],
        "MODEL.CLS_AGNOSTIC_BBOX_REG": boxes[0] == 8 and scores[0] != 2,
        "MODEL.CASCADE_ON": bool(stages),
    }
    hidden = shapes.get(f"{box}feature_extractor.fc6.weight") or shapes.get(
        f"{box}feature_extractor.fc6.0.weight"
    )
    if hidden is None:
        return settings | {
            "MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR": "ResNet50Conv5ROIFeatureExtractor",
            "MODEL.ROI_BOX_HEAD.PREDICTOR": "FastRCNNPredictor",
            "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 14,
            "MODEL.ROI_BOX_HEAD.POOLER_SCALES": (0.0625,),
        }
    return settings | _dense_box_head(shapes, f"{box}feature_extractor.", hidden)


def _dense_box_head(shapes: Shapes, extractor: str, hidden: tuple[int, ...]) -> dict[str, Any]:
    """Keys of the heads with fully connected layers; `hidden` is (out, in) of the first one."""
    convs = {
        name: shape
        for name, shape in shapes.items()
        if name.startswith(f"{extractor}xconvs.") and len(shape) == 4
    }
    channels = next((shape[0] for shape in convs.values()), None)
    lateral = _find_channels(shapes)
    norm = _sequence_norm(shapes, f"{extractor}fc6")
    settings = {
        "MODEL.ROI_HEADS.USE_FPN": True,
        "MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR": "FPN2MLPFeatureExtractor",
        "MODEL.ROI_BOX_HEAD.PREDICTOR": "FPNPredictor",
        "MODEL.ROI_BOX_HEAD.POOLER_SCALES": _HEAD_SCALES,
        "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": math.isqrt(hidden[1] // (channels or lateral)),
        "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM": hidden[0],
    }
    if channels is not None:
        settings["MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR"] = "FPNXconv1fcFeatureExtractor"
        settings["MODEL.ROI_BOX_HEAD.CONV_HEAD_DIM"] = channels
        settings["MODEL.ROI_BOX_HEAD.NUM_STACKED_CONVS"] = len(convs)
        norm = _sequence_norm(shapes, f"{extractor}xconvs")
    return settings | {"MODEL.ROI_BOX_HEAD.NORM": norm}


def _find_channels(shapes: Shapes) -> int:
    """Channels of the pyramid's maps."""
    for end in ("", ".0"):
        if shape := shapes.get(f"backbone.fpn.fpn_inner2{end}.weight"):
            return shape[0]
    return 256


def _mask_head(shapes: Shapes) -> dict[str, Any]:
    if not any(name.startswith(f"{_MASK}predictor.") for name in shapes):
        return {}
    extractor = f"{_MASK}feature_extractor.mask_fcn"
    layers = _layers(shapes, extractor)
    upsample = shapes.get(f"{_MASK}predictor.conv5_mask.weight")
    settings: dict[str, Any] = {
        "MODEL.MASK_ON": True,
        "MODEL.ROI_MASK_HEAD.PREDICTOR": "MaskRCNNC4Predictor"
        if upsample
        else "MaskRCNNConv1x1Predictor",
    }
    if not layers:
        # The C4 head's 7 x 7 features, doubled.
        return settings | {
            "MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR": "ResNet50Conv5ROIFeatureExtractor",
            "MODEL.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR": True,
            "MODEL.ROI_MASK_HEAD.CONV_LAYERS": (upsample[1] if upsample else 256,),
            "MODEL.ROI_MASK_HEAD.RESOLUTION": _MASK_POOL,
        }
    return settings | {
        "MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR": "MaskRCNNFPNFeatureExtractor",
        "MODEL.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR": False,
        "MODEL.ROI_MASK_HEAD.CONV_LAYERS": layers,
        "MODEL.ROI_MASK_HEAD.NORM": _sequence_norm(shapes, f"{extractor}1"),
        "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": _MASK_POOL,
        "MODEL.ROI_MASK_HEAD.POOLER_SCALES": _HEAD_SCALES,
        "MODEL.ROI_MASK_HEAD.RESOLUTION": _MASK_POOL * (2 if upsample else 1),
    }


def _keypoint_head(shapes: Shapes) -> dict[str, Any]:
    scores = shapes.get(f"{_KEYPOINT}predictor.kps_score_lowres.weight")
    if scores is None:
        return {}
    return {
        "MODEL.KEYPOINT_ON": True,
        "MODEL.ROI_KEYPOINT_HEAD.CONV_LAYERS": _layers(
            shapes, f"{_KEYPOINT}feature_extractor.conv_fcn"
        ),
        "MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES": scores[1],
        "MODEL.ROI_KEYPOINT_HEAD.SHARE_BOX_FEATURE_EXTRACTOR": False,
        "MODEL.ROI_KEYPOINT_HEAD.POOLER_RESOLUTION": _KEYPOINT_POOL,
        "MODEL.ROI_KEYPOINT_HEAD.POOLER_SCALES": _HEAD_SCALES,
        # A transposed convolution and an interpolation double the side twice.
        "MODEL.ROI_KEYPOINT_HEAD.RESOLUTION": 4 * _KEYPOINT_POOL,
    }


def _layers(shapes: Shapes, start: str) -> tuple[int, ...]:
    """Output channels of the convolutions `start`1, `start`2, ..., bare or with a norm."""
    found = {}
    for name, shape in shapes.items():
        match = re.fullmatch(re.escape(start) + r"(\d+)(?:\.0)?\.weight", name)
        if match and len(shape) == 4:
            found[int(match[1])] = shape[0]
    return tuple(found[number] for number in sorted(found))


def _retinanet(shapes: Shapes) -> dict[str, Any]:
    logits, boxes = shapes["rpn.head.cls_logits.weight"], shapes["rpn.head.bbox_pred.weight"]
    anchors = boxes[0] // 4
    tower = [
        name
        for name, shape in shapes.items()
        if name.startswith("rpn.head.cls_tower.") and len(shape) == 4
    ]
    p6 = shapes.get("backbone.fpn.top_blocks.p6.weight")
    return {
        "MODEL.RETINANET_ON": True,
        "MODEL.RPN_ONLY": True,
        "MODEL.RETINANET.NUM_CLASSES": logits[0] // anchors + 1,
        "MODEL.RETINANET.NUM_CONVS": len(tower),
        "MODEL.RETINANET.SCALES_PER_OCTAVE": max(1, anchors // _RATIOS),
        "MODEL.RETINANET.USE_C5": p6 is None or p6[1] != p6[0],
    }
