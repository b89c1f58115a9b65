"""Our operators in ONNX's standard ones: what `torch.onnx.export` is told about each custom operator.

B: images.    N: candidates, K: results of each image.    C: groups.    R: regions.    Each function has the signature of
the operator it stands for and is traced, so a Python `if` is decided when the model is exported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from maskrcnn_benchmark.errors import MissingExtraError

try:
    from onnxscript import BOOL, FLOAT, INT64, script
    from onnxscript import opset18 as op
except ImportError as error:
    raise MissingExtraError("onnxscript", extra="onnx", purpose="export to ONNX") from error

# What the exporter itself writes; RoiAlign and Resize have all the forms that are used here.
OPSET = 18

Value = Any
_INT64 = 7
_NONE = -2.0e38


def _ints(*values: int) -> Value:
    return op.Constant(value_ints=list(values))


def _float(value: float) -> Value:
    return op.Constant(value_float=float(value))


def nms_padded(
    boxes: Value,
    scores: Value,
    groups: Value,
    valid: Value,
    iou_threshold: float,
    max_output: Any,
    max_per_group: int,
    offset: float,
    inclusive: bool,
) -> tuple[Value, Value]:
    """`maskrcnn::nms_padded`: the groups become the classes of NonMaxSuppression."""
    if offset:
        boxes = op.Add(boxes, op.Constant(value_floats=[0.0, 0.0, float(offset), float(offset)]))
    # Marks what is not a candidate, or did not survive: below any score, logits included.
    none = _float(_NONE)
    scores = op.Where(valid, scores, none)  # (B, N)
    kept = scores
    if iou_threshold > 0:
        flat = op.Reshape(groups, _ints(-1))
        last = op.Add(op.ReduceMax(flat, keepdims=0), op.Constant(value_int=1))
        names = op.Range(op.ReduceMin(flat, keepdims=0), last, op.Constant(value_int=1))  # (C,)
        belongs = op.Equal(op.Unsqueeze(groups, _ints(1)), op.Unsqueeze(names, _ints(0, 2)))
        by_group = op.Where(belongs, op.Unsqueeze(scores, _ints(1)), none)  # (B, C, N)
        most = _ints(max_per_group) if max_per_group else op.Gather(op.Shape(scores), _ints(1))
        threshold = op.Constant(value_floats=[_threshold(iou_threshold, inclusive)])
        survivors = op.NonMaxSuppression(
            boxes, by_group, most, threshold, op.Constant(value_floats=[_NONE / 2])
        )  # (M, 3): image, group, candidate
        places = op.Gather(survivors, _ints(0, 2), axis=1)
        kept = op.ScatterND(op.Expand(none, op.Shape(scores)), places, op.GatherND(scores, places))
    if isinstance(max_output, int):
        # There may be fewer candidates than results.
        rows = op.Gather(op.Shape(scores), _ints(0))
        shape = op.Concat(rows, _ints(max_output), axis=0)
        kept = op.Concat(kept, op.Expand(none, shape), axis=1)
        count = _ints(max_output)
    else:
        count = op.Reshape(max_output, _ints(1))
    best, index = op.TopK(kept, count, axis=1)
    is_kept = op.Greater(best, _float(_NONE / 2))
    return op.Where(is_kept, index, op.Constant(value_int=0)), is_kept


def _threshold(iou_threshold: float, inclusive: bool) -> float:
    """ONNX suppresses beyond the threshold: to suppress at it, take the float32 just below."""
    value = np.float32(iou_threshold)
    return float(np.nextafter(value, np.float32(-np.inf)) if inclusive else value)


def pyramid_roi_align(
    features: Sequence[Value],
    rois: Value,
    levels: Value,
    scales: Sequence[float],
    output_size: int,
    sampling_ratio: int,
    aligned: bool,
) -> Value:
    """`maskrcnn::pyramid_roi_align`: each level pools its own regions, which are put back in their places."""
    mode = "half_pixel" if aligned else "output_half_pixel"
    boxes = op.Gather(rois, _ints(1, 2, 3, 4), axis=1)
    image = op.Gather(rois, op.Constant(value_int=0), axis=1)  # (R,)
    image = op.Cast(image, to=_INT64)
    count = op.Gather(op.Shape(rois), _ints(0))
    channels = op.Gather(op.Shape(features[0]), _ints(1))
    shape = op.Concat(count, channels, _ints(output_size, output_size), axis=0)
    result = op.Expand(_float(0.0), shape)
    for level, (feature, scale) in enumerate(zip(features, scales, strict=True)):
        here = op.NonZero(op.Equal(levels, op.Constant(value_int=level)))  # (1, n)
        rows = op.Squeeze(here, _ints(0))
        pooled = op.RoiAlign(
            feature,
            op.Gather(boxes, rows, axis=0),
            op.Gather(image, rows, axis=0),
            coordinate_transformation_mode=mode,
            output_height=output_size,
            output_width=output_size,
            sampling_ratio=sampling_ratio,
            spatial_scale=float(scale),
        )
        result = op.ScatterND(result, op.Transpose(here, perm=[1, 0]), pooled)
    return result


@script()
def _decode_rows(
    heat_maps: FLOAT["R", "K", "S", "S"],  # noqa: F821
    regions: FLOAT["R", 4],  # noqa: F821
    count: INT64,
    valid: BOOL["R"],  # noqa: F821
) -> FLOAT["R", "K", 3]:  # noqa: F821
    """One region after the other: each heat map is enlarged to a size of its own."""
    zero = op.Constant(value_ints=[0])
    two = op.Constant(value_ints=[2])
    last = op.Constant(value_ints=[4])
    sides = op.Max(
        op.Slice(regions, two, last, op.Constant(value_ints=[1]))
        - op.Slice(regions, zero, two, op.Constant(value_ints=[1])),
        op.Constant(value_float=1.0),
    )
    pixels = op.Ceil(sides)
    joints = op.Slice(op.Shape(heat_maps), op.Constant(value_ints=[1]), two)
    found = op.SequenceEmpty()
    for row in range(count):
        index = op.Reshape(row, op.Constant(value_ints=[1]))
        size = op.Cast(op.Gather(pixels, index, axis=0), to=7)  # (1, 2): width, height
        width = op.Slice(op.Squeeze(size, zero), zero, op.Constant(value_ints=[1]))
        height = op.Slice(op.Squeeze(size, zero), op.Constant(value_ints=[1]), two)
        wanted = op.Concat(op.Constant(value_ints=[1]), joints, height, width, axis=0)
        large = op.Resize(
            op.Gather(heat_maps, index, axis=0),
            None,
            None,
            wanted,
            mode="cubic",
            cubic_coeff_a=-0.75,
            coordinate_transformation_mode="half_pixel",
        )
        flat = op.Reshape(large, op.Concat(joints, op.Constant(value_ints=[-1]), axis=0))
        place = op.ArgMax(flat, axis=1, keepdims=1)  # (K, 1)
        value = op.ReduceMax(flat, op.Constant(value_ints=[1]), keepdims=1)
        x = op.Cast(op.Mod(place, width), to=1)
        y = op.Cast(op.Div(place, width), to=1)
        half = op.Concat(x, y, axis=1) + op.Constant(value_float=0.5)
        ratio = op.Gather(sides, index, axis=0) / op.Gather(pixels, index, axis=0)
        corner = op.Slice(op.Gather(regions, index, axis=0), zero, two, op.Constant(value_ints=[1]))
        point = op.Concat(half * ratio + corner, value, axis=1)  # (K, 3)
        point = op.Where(op.Gather(valid, index), point, op.Constant(value_float=0.0))
        found = op.SequenceInsert(found, point)
    return op.ConcatFromSequence(found, axis=0, new_axis=1)


def decode_heat_maps(heat_maps: Value, boxes: Value, valid: Value) -> Value:
    """`maskrcnn::decode_heat_maps`."""
    count = op.Squeeze(op.Gather(op.Shape(boxes), _ints(0)))
    return _decode_rows(heat_maps, boxes, count, valid)


def translations() -> dict[Any, Callable[..., Any]]:
    """Operator -> its form in ONNX, as `custom_translation_table` takes it."""
    # The operators are registered where they are defined.
    import maskrcnn_benchmark.layers.keypoints
    import maskrcnn_benchmark.layers.nms
    import maskrcnn_benchmark.layers.roi_align  # noqa: F401

    ours = torch.ops.maskrcnn
    return {
        ours.nms_padded.default: nms_padded,
        ours.pyramid_roi_align.default: pyramid_roi_align,
        ours.decode_heat_maps.default: decode_heat_maps,
    }
