"""Resizing inside an ONNX graph, beside the test's own transform."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from PIL import Image

from maskrcnn_benchmark.data.transforms.resize import Resize
from maskrcnn_benchmark.errors import ExportError
from maskrcnn_benchmark.export.image_input import PADDED_NAMES, add_resizing, inner_names

SIZES = [
    (640, 480),
    (1000, 333),
    (333, 1000),
    (427, 640),
    (100, 300),
    (201, 200),
    (50, 60),
    (4, 4000),
]


def tiny_network():
    """A "network" whose one box is the size of its input, and whose mask is its input."""
    nodes = [
        helper.make_node("Constant", [], ["one"], value_ints=[1]),
        helper.make_node("Unsqueeze", ["padded_sizes", "one"], ["sizes"]),
        helper.make_node("Concat", ["sizes", "sizes"], ["network_boxes"], axis=2),
        helper.make_node("Identity", ["padded"], ["masks"]),
    ]
    inputs = [
        helper.make_tensor_value_info("padded", TensorProto.FLOAT, [None, 3, None, None]),
        helper.make_tensor_value_info("padded_sizes", TensorProto.FLOAT, [None, 2]),
    ]
    outputs = [
        helper.make_tensor_value_info("network_boxes", TensorProto.FLOAT, [None, None, 4]),
        helper.make_tensor_value_info("masks", TensorProto.FLOAT, [None, 3, None, None]),
    ]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def picture(width, height):
    coarse = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("rule", ["detectron", "detectron2"])
def test_sizes_and_pixels_are_those_of_the_test(rule):
    model = add_resizing(tiny_network(), min_size=200, max_size=333, rule=rule, size_divisible=32)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    assert [value.name for value in session.get_inputs()] == ["images"]
    assert [value.name for value in session.get_outputs()] == ["boxes", "masks"]
    resize = Resize(200, 333, rule=rule)
    for width, height in SIZES:
        image = picture(width, height)
        boxes, padded = session.run(None, {"images": np.asarray(image)[None].repeat(2, axis=0)})
        expected = np.asarray(resize(image)).transpose(2, 0, 1).astype(np.int64)
        _, new_height, new_width = expected.shape
        assert padded.shape == (2, 3, -(-new_height // 32) * 32, -(-new_width // 32) * 32)
        inside = padded[1, :, :new_height, :new_width]
        assert padded.sum() == pytest.approx(2 * inside.sum(), rel=1e-4)
        away = np.abs(inside - expected)
        assert away.max() <= 1
        # An exact third is the worst: there the windows end where pixels do.
        assert (away > 0).mean() < (0.2 if 1000 in (width, height) else 0.01)
        # y and x change places, in this network only.
        ratio = np.array([width / new_width, height / new_height] * 2)
        np.testing.assert_allclose(boxes[0, 0], [new_height, new_width] * 2 * ratio, rtol=1e-6)


def test_names():
    assert PADDED_NAMES == ("padded", "padded_sizes")
    assert inner_names(["boxes", "scores", "keypoints"]) == [
        "network_boxes",
        "scores",
        "network_keypoints",
    ]


def test_rules_without_a_form():
    with pytest.raises(ExportError, match=r"resize as torchvision does.*--input pixels"):
        add_resizing(
            tiny_network(), min_size=200, max_size=333, rule="torchvision", size_divisible=0
        )
