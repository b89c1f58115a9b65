"""Our operators in ONNX's standard ones: what `torch.onnx.export` is told about each custom operator.

Each function has the signature of the operator it stands for and is traced, so a Python `if` is decided when the model
is exported.

B: images.    N: candidates, K: results of each image.    C: groups.    R: regions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from maskrcnn_benchmark.errors import MissingExtraError

try:
    from onnxscript import BOOL, FLOAT, INT64, opset18, script
except ImportError as error:
    raise MissingExtraError("onnxscript", extra="onnx", purpose="export to ONNX") from error

# Its stubs know each operator's types, which a value that is being traced has not got yet.
op: Any = opset18

Value = Any
_INT64 = 7
# Below any score, logits included: what is no candidate, or did not survive.
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
    none = _float(_NONE)
    scores = op.Where(valid, scores, none)  # (B, N)
    # Only as many as are candidates in some image: a hundred of the 80,000 pairs of box and class, say.
    counts = op.ReduceSum(op.Cast(valid, to=_INT64), _ints(1), keepdims=0)
    most = op.Max(op.Reshape(op.ReduceMax(counts, keepdims=0), _ints(1)), _ints(1))
    kept, candidates = op.TopK(scores, most, axis=1)
    if iou_threshold > 0:
        boxes = op.GatherND(boxes, op.Unsqueeze(candidates, _ints(2)), batch_dims=1)
        if offset:
            boxes = op.Add(
                boxes, op.Constant(value_floats=[0.0, 0.0, float(offset), float(offset)])
            )
        groups = op.GatherElements(groups, candidates, axis=1)
        # A group cannot have more among the best K than K.
        limits = [each for each in (max_per_group, max_output) if isinstance(each, int) and each]
        limit = _ints(min(limits)) if limits else most
        kept = _suppress(boxes, kept, groups, limit, _threshold(iou_threshold, inclusive))
    wanted = _ints(max_output) if isinstance(max_output, int) else op.Reshape(max_output, _ints(1))
    # There may be fewer candidates than results.
    shape = op.Concat(op.Gather(op.Shape(kept), _ints(0)), wanted, axis=0)
    kept = op.Concat(kept, op.Expand(none, shape), axis=1)
    best, place = op.TopK(kept, wanted, axis=1)
    is_kept = op.Greater(best, _float(_NONE / 2))
    zero = op.Constant(value_int=0)
    index = op.GatherElements(candidates, op.Where(is_kept, place, zero), axis=1)
    return op.Where(is_kept, index, zero), is_kept


def _suppress(boxes: Value, scores: Value, groups: Value, limit: Value, threshold: float) -> Value:
    """Scores (B, N), `_NONE` where a candidate did not survive."""
    none = _float(_NONE)
    flat = op.Reshape(groups, _ints(-1))
    end = op.Add(op.ReduceMax(flat, keepdims=0), op.Constant(value_int=1))
    names = op.Range(op.ReduceMin(flat, keepdims=0), end, op.Constant(value_int=1))  # (C,)
    belongs = op.Equal(op.Unsqueeze(groups, _ints(1)), op.Unsqueeze(names, _ints(0, 2)))
    by_group = op.Where(belongs, op.Unsqueeze(scores, _ints(1)), none)  # (B, C, N)
    survivors = op.NonMaxSuppression(
        boxes,
        by_group,
        limit,
        op.Constant(value_floats=[threshold]),
        op.Constant(value_floats=[_NONE / 2]),
    )  # (M, 3): image, group, candidate
    places = op.Gather(survivors, _ints(0, 2), axis=1)
    return op.ScatterND(op.Expand(none, op.Shape(scores)), places, op.GatherND(scores, places))


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
    boxes = op.Gather(rois, _ints(1, 2, 3, 4), axis=1)
    image = op.Cast(op.Gather(rois, op.Constant(value_int=0), axis=1), to=_INT64)  # (R,)

    def pool(feature: Value, rows: Value, scale: float) -> Value:
        return op.RoiAlign(
            feature,
            op.Gather(boxes, rows, axis=0),
            op.Gather(image, rows, axis=0),
            coordinate_transformation_mode="half_pixel" if aligned else "output_half_pixel",
            output_height=output_size,
            output_width=output_size,
            sampling_ratio=sampling_ratio,
            spatial_scale=float(scale),
        )

    return _by_level(features, levels, scales, output_size, pool)


def pyramid_roi_pool(
    features: Sequence[Value],
    rois: Value,
    levels: Value,
    scales: Sequence[float],
    output_size: int,
) -> tuple[Value, Value]:
    """`maskrcnn::pyramid_roi_pool`; the cells it also gives are for training, zeros here."""

    def pool(feature: Value, rows: Value, scale: float) -> Value:
        return op.MaxRoiPool(
            feature,
            op.Gather(rois, rows, axis=0),
            pooled_shape=[output_size, output_size],
            spatial_scale=float(scale),
        )

    pooled = _by_level(features, levels, scales, output_size, pool)
    return pooled, op.Cast(pooled, to=_INT64)


def _by_level(
    features: Sequence[Value],
    levels: Value,
    scales: Sequence[float],
    output_size: int,
    pool: Callable[[Value, Value, float], Value],
) -> Value:
    """Pool the regions of each level; (R, C, S, S), zeros for those of a negative level."""
    channels = op.Gather(op.Shape(features[0]), _ints(1))
    nothing = op.Expand(
        _float(0.0), op.Concat(_ints(1), channels, _ints(output_size, output_size), axis=0)
    )
    rows = [
        op.Squeeze(op.NonZero(op.Equal(levels, op.Constant(value_int=level))), _ints(0))
        for level in range(len(features))
    ]
    pooled = [pool(*each) for each in zip(features, rows, scales, strict=True)]
    # Level after level, and a row of zeros at the end; then each region is fetched from its place among them.
    chosen = op.Concat(*rows, axis=0)
    count = op.Shape(chosen)
    order = op.Range(op.Constant(value_int=0), op.Squeeze(count), op.Constant(value_int=1))
    places = op.ScatterElements(op.Expand(count, op.Shape(levels)), chosen, order)
    return op.Gather(op.Concat(*pooled, nothing, axis=0), places, axis=0)


@script()
def _decode_rows(heat_maps: FLOAT, regions: FLOAT, count: INT64, valid: BOOL) -> FLOAT:
    """One region after the other: each heat map is enlarged to a size of its own."""
    zero = op.Constant(value_ints=[0])
    one = op.Constant(value_ints=[1])
    two = op.Constant(value_ints=[2])
    last = op.Constant(value_ints=[4])
    corners = op.Slice(regions, zero, two, one)
    sides = op.Max(op.Sub(op.Slice(regions, two, last, one), corners), op.Constant(value_float=1.0))
    pixels = op.Ceil(sides)
    joints = op.Slice(op.Shape(heat_maps), one, two)
    found = op.SequenceEmpty()
    for row in range(count):  # type: ignore[call-overload]
        index = op.Reshape(row, one)
        size = op.Squeeze(op.Cast(op.Gather(pixels, index, axis=0), to=7), zero)  # width, height
        width = op.Slice(size, zero, one)
        height = op.Slice(size, one, two)
        large = op.Resize(
            op.Gather(heat_maps, index, axis=0),
            None,
            None,
            op.Concat(one, joints, height, width, axis=0),
            mode="cubic",
            cubic_coeff_a=-0.75,
            coordinate_transformation_mode="half_pixel",
        )
        flat = op.Reshape(large, op.Concat(joints, op.Constant(value_ints=[-1]), axis=0))
        place = op.ArgMax(flat, axis=1, keepdims=1)  # (K, 1)
        value = op.ReduceMax(flat, one, keepdims=1)
        x = op.Cast(op.Mod(place, width), to=1)
        y = op.Cast(op.Div(place, width), to=1)
        half = op.Add(op.Concat(x, y, axis=1), op.Constant(value_float=0.5))
        ratio = op.Div(op.Gather(sides, index, axis=0), op.Gather(pixels, index, axis=0))
        corner = op.Gather(corners, index, axis=0)
        point = op.Concat(op.Add(op.Mul(half, ratio), corner), value, axis=1)  # (K, 3)
        point = op.Where(op.Gather(valid, index), point, op.Constant(value_float=0.0))
        found = op.SequenceInsert(found, point)
    return op.ConcatFromSequence(found, axis=0, new_axis=1)  # type: ignore[no-any-return]


def decode_heat_maps(heat_maps: Value, boxes: Value, valid: Value) -> Value:
    """`maskrcnn::decode_heat_maps`."""
    count = op.Squeeze(op.Gather(op.Shape(boxes), _ints(0)))
    return _decode_rows(heat_maps, boxes, count, valid)


def translations() -> dict[Any, Callable[..., Any]]:
    """Operator -> its form in ONNX, as `custom_translation_table` takes it."""
    # The operators are registered where they are defined.
    import maskrcnn_benchmark.layers.keypoints
    import maskrcnn_benchmark.layers.nms
    import maskrcnn_benchmark.layers.roi_align
    import maskrcnn_benchmark.layers.roi_pool  # noqa: F401

    ours = torch.ops.maskrcnn
    return {
        ours.nms_padded.default: nms_padded,
        ours.pyramid_roi_align.default: pyramid_roi_align,
        ours.pyramid_roi_pool.default: pyramid_roi_pool,
        ours.decode_heat_maps.default: decode_heat_maps,
    }
