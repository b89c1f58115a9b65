"""Resizing as a part of an ONNX graph: images of any size in, boxes in their pixels out.

The network's sides are computed by the numerics' own rule (`data.transforms.resize`), in float64. Pixels are made by
Resize with antialiasing on uint8, for which ONNX Runtime has PIL's arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskrcnn_benchmark.errors import ExportError
from maskrcnn_benchmark.numerics import ResizeRule

# Names within the graph, of what the network takes and gives.
PADDED_NAMES = ("padded", "padded_sizes")
_INNER = "network_"

_RULES = {
    # The long side down, after the short one was rounded where it had to be less than wanted.
    "detectron": """
        whole_limit = Round (limit)
        limited = Max (whole_limit, one_pixel)
        too_long = Greater (scaled_long, longest)
        target_short = Where (too_long, limited, wanted)
        scaled = Mul (target_short, sides)
        exact = Div (scaled, short)
        rounded = Floor (exact)""",
    # Both sides once, to the nearest pixel.
    "detectron2": """
        scale = Div (wanted, short)
        grown = Mul (sides, scale)
        is_short = Equal (sides, short)
        first = Where (is_short, wanted, grown)
        largest = ReduceMax <keepdims = 1> (first)
        shrink = Div (longest, largest)
        shrunk = Mul (first, shrink)
        too_long = Greater (largest, longest)
        exact = Where (too_long, shrunk, first)
        half = Constant <value = double[1] {0.5}> ()
        above = Add (exact, half)
        whole = Floor (above)
        rounded = Max (whole, one_pixel)""",
}

_BEFORE = """
<ir_version: 8, opset_import: ["" : 18]>
before (uint8[batch, image_height, image_width, 3] images)
    => (float[batch, 3, height, width] padded, float[batch, 2] padded_sizes)
{{
    zero = Constant <value_ints = [0]> ()
    one = Constant <value_ints = [1]> ()
    two = Constant <value_ints = [2]> ()
    three = Constant <value_ints = [3]> ()
    wanted = Constant <value = double[1] {{{min_size}.0}}> ()
    longest = Constant <value = double[1] {{{max_size}.0}}> ()
    one_pixel = Constant <value = double[1] {{1.0}}> ()
    shape = Shape (images)
    whole_sides = Slice (shape, one, three)
    sides = Cast <to = 11> (whole_sides)
    short = ReduceMin <keepdims = 1> (sides)
    long = ReduceMax <keepdims = 1> (sides)
    shrunk_short = Mul (longest, short)
    limit = Div (shrunk_short, long)
    elongation = Div (long, short)
    scaled_long = Mul (elongation, wanted)
    {rule}
    new_sides = Cast <to = 7> (rounded)
    batch_size = Slice (shape, zero, one)
    new_shape = Concat <axis = 0> (batch_size, three, new_sides)
    planes = Transpose <perm = [0, 3, 1, 2]> (images)
    resized = Resize <mode = "linear", antialias = 1, exclude_outside = 1> (planes, , , new_shape)
    pixels = Cast <to = 1> (resized)
    divisor = Constant <value_ints = [{divisor}]> ()
    negative = Neg (new_sides)
    missing = Mod (negative, divisor)
    six_zeros = Constant <value_ints = [0, 0, 0, 0, 0, 0]> ()
    pads = Concat <axis = 0> (six_zeros, missing)
    padded = Pad (pixels, pads)
    size = Cast <to = 1> (new_sides)
    sizes_shape = Concat <axis = 0> (batch_size, two)
    padded_sizes = Expand (size, sizes_shape)
    old_size = Cast <to = 1> (whole_sides)
    ratio_yx = Div (old_size, size)
    order = Constant <value_ints = [1, 0]> ()
    ratio_xy = Gather (ratio_yx, order)
}}
"""

_AFTER = {
    "boxes": """
<ir_version: 8, opset_import: ["" : 18]>
after (float[batch, detections, 4] network_boxes, float[2] ratio_xy)
    => (float[batch, detections, 4] boxes)
{
    ratio_xyxy = Concat <axis = 0> (ratio_xy, ratio_xy)
    boxes = Mul (network_boxes, ratio_xyxy)
}
""",
    "keypoints": """
<ir_version: 8, opset_import: ["" : 18]>
after (float[batch, detections, joints, 3] network_keypoints, float[2] ratio_xy)
    => (float[batch, detections, joints, 3] keypoints)
{
    unit = Constant <value_floats = [1.0]> ()
    ratio_xy1 = Concat <axis = 0> (ratio_xy, unit)
    keypoints = Mul (network_keypoints, ratio_xy1)
}
""",
}


def inner_names(names: Sequence[str]) -> list[str]:
    """What the network's outputs are called where `add_resizing` comes behind it."""
    return [_INNER + name if name in _AFTER else name for name in names]


def check_rule(rule: ResizeRule) -> None:
    """Raise where images cannot be resized within a graph as they are in a test.

    Raises:
        ExportError: for a rule that has no form in ONNX.
    """
    if rule not in _RULES:
        raise ExportError(
            f"numerics that resize as {rule} does have no exact form in ONNX. Export with --input pixels or tensor, "
            "and resize outside"
        )


def add_resizing(
    model: Any, *, min_size: int, max_size: int, rule: ResizeRule, size_divisible: int
) -> Any:
    """Put resizing and padding before a graph that takes pixels, and scale its boxes back.

    Args:
        model: `onnx.ModelProto` with the inputs `PADDED_NAMES` and outputs of `inner_names`; it is changed.
        min_size: short side that an image becomes.
        max_size: longest long side.
        rule: how sides are rounded.
        size_divisible: sides are padded to a multiple of it.

    Raises:
        ExportError: for a rule that has no form in ONNX.
    """
    import onnx

    check_rule(rule)
    before = onnx.parser.parse_model(
        _BEFORE.format(
            min_size=min_size, max_size=max_size, rule=_RULES[rule], divisor=max(size_divisible, 1)
        )
    ).graph
    graph = model.graph
    _keep_apart(graph)
    nodes = [*before.node, *graph.node]
    outputs = []
    for output in graph.output:
        name = output.name.removeprefix(_INNER)
        if name == output.name:
            outputs.append(output)
            continue
        after = onnx.parser.parse_model(_AFTER[name]).graph
        nodes += after.node
        outputs += after.output
    for field, values in (("node", nodes), ("input", list(before.input)), ("output", outputs)):
        graph.ClearField(field)
        getattr(graph, field).extend(values)
    return model


def _keep_apart(graph: Any) -> None:
    """Rename the network's inner values: names in a graph must differ, and these may be any."""
    fixed = {value.name for value in (*graph.input, *graph.output)}
    fixed |= {tensor.name for tensor in graph.initializer}

    def rename(names: Any) -> None:
        for position, name in enumerate(names):
            if name and name not in fixed:
                names[position] = f"net/{name}"

    def walk(nodes: Any) -> None:
        for node in nodes:
            rename(node.input)
            rename(node.output)
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    inner = attribute.g
                    for value in (*inner.input, *inner.output):
                        if value.name not in fixed:
                            value.name = f"net/{value.name}"
                    walk(inner.node)

    walk(graph.node)
    graph.ClearField("value_info")
