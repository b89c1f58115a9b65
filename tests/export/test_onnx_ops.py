"""Our operators in ONNX Runtime, one at a time."""

import onnxruntime
import pytest
import torch
from torch import nn
from torch.export import Dim

from maskrcnn_benchmark.export.onnx_export import OPSET, quiet
from maskrcnn_benchmark.export.onnx_ops import translations
from maskrcnn_benchmark.layers.keypoints import decode_heat_maps
from maskrcnn_benchmark.layers.nms import nms_padded
from maskrcnn_benchmark.layers.roi_align import pyramid_roi_align
from maskrcnn_benchmark.layers.roi_pool import pyramid_roi_pool


def run_in_onnx(module, example, dynamic, *others):
    """Outputs in ONNX Runtime for the example and for other inputs."""
    with quiet():
        program = torch.onnx.export(
            module.eval(),
            example,
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=dynamic,
            custom_translation_table=translations(),
            verbose=False,
        )
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    names = [value.name for value in session.get_inputs()]
    results = []
    for inputs in (example, *others):
        feeds = dict(zip(names, (value.numpy() for value in inputs), strict=True))
        results.append([torch.from_numpy(value) for value in session.run(None, feeds)])
    return results


class Suppress(nn.Module):
    def __init__(self, **rule):
        super().__init__()
        self.rule = rule

    def forward(self, boxes, scores, groups, valid):
        return nms_padded(boxes, scores, groups=groups, valid=valid, **self.rule)


def candidates(batch, count, *, share, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(batch, count, 2, generator=generator) * 60
    boxes = torch.cat((corner, corner + 5 + torch.rand(batch, count, 2) * 40), dim=2)
    scores = torch.randn(batch, count, generator=generator)
    groups = torch.randint(1, 5, (batch, count), generator=generator)
    return boxes, scores, groups, torch.rand(batch, count, generator=generator) < share


@pytest.mark.parametrize(
    "rule",
    [
        {"iou_threshold": 0.5, "max_output": 12},
        {"iou_threshold": 0.7, "max_output": 50, "max_per_group": 3, "offset": 0.0},
        {"iou_threshold": 0.0, "max_output": 9, "inclusive": False},
    ],
)
def test_suppression(rule):
    module = Suppress(**rule)
    batch, count = Dim("batch"), Dim("count", max=1000)
    dynamic = [{0: batch, 1: count}] * 4
    # Among them none at all, fewer than are wanted, and one image without any.
    inputs = [
        candidates(2, 40, share=0.6),
        candidates(1, 80, share=1.0, seed=1),
        candidates(3, 8, share=0.0, seed=2),
        candidates(3, 30, share=0.1, seed=3),
    ]
    inputs[3][3][1] = False
    for arguments, (index, valid) in zip(
        inputs, run_in_onnx(module, inputs[0], dynamic, *inputs[1:]), strict=True
    ):
        expected, expected_valid = module(*arguments)
        torch.testing.assert_close(valid, expected_valid)
        torch.testing.assert_close(index, expected)


def test_an_overlap_of_exactly_the_threshold():
    # Inclusive corners: 10 x 10 and 10 x 5 pixels, overlap exactly a half.
    boxes = torch.tensor([[[0.0, 0, 9, 9], [0, 0, 9, 4]]])
    arguments = (boxes, torch.tensor([[0.9, 0.8]]), torch.ones(1, 2).long(), torch.ones(1, 2) > 0)
    for inclusive, survivors in ((True, 1), (False, 2)):
        module = Suppress(iou_threshold=0.5, max_output=2, inclusive=inclusive)
        _, valid = run_in_onnx(module, arguments, None)[0]
        assert valid.sum() == survivors == module(*arguments)[1].sum()


class Pool(nn.Module):
    def __init__(self, kind, **rule):
        super().__init__()
        self.kind, self.rule = kind, rule

    def forward(self, fine, coarse, rois, levels):
        pool = pyramid_roi_pool if self.kind == "pool" else pyramid_roi_align
        return pool([fine, coarse], rois, levels, scales=[0.25, 0.125], output_size=3, **self.rule)


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("align", {"sampling_ratio": 2, "aligned": False}),
        ("align", {"sampling_ratio": 0, "aligned": True}),
        ("pool", {}),
    ],
)
def test_pooling(kind, rule):
    def inputs(rows, seed):
        generator = torch.Generator().manual_seed(seed)
        maps = [torch.randn(2, 5, 16 // n, 24 // n, generator=generator) for n in (1, 2)]
        image = torch.randint(0, 2, (rows, 1), generator=generator)
        corner = torch.rand(rows, 2, generator=generator) * 40
        size = torch.rand(rows, 2, generator=generator) * 40
        rois = torch.cat((image, corner, corner + size), dim=1)
        return (*maps, rois, torch.randint(-1, 2, (rows,), generator=generator))

    module, count = Pool(kind, **rule), Dim("count")
    none = inputs(4, 2)
    none[3].fill_(-1)
    cases = [inputs(9, 0), inputs(3, 1), none]
    found = run_in_onnx(module, cases[0], [{}, {}, {0: count}, {0: count}], *cases[1:])
    for arguments, (pooled,) in zip(cases, found, strict=True):
        torch.testing.assert_close(pooled, module(*arguments), atol=1e-5, rtol=1e-5)
    assert not found[2][0].any()


class Decode(nn.Module):
    def forward(self, heat_maps, boxes, valid):
        return decode_heat_maps(heat_maps, boxes, valid)


def test_keypoints():
    generator = torch.Generator().manual_seed(0)

    def inputs(rows):
        maps = torch.randn(rows, 4, 7, 7, generator=generator)
        corner = torch.rand(rows, 2, generator=generator) * 50
        boxes = torch.cat((corner, corner + torch.rand(rows, 2, generator=generator) * 60), dim=1)
        return maps, boxes, torch.arange(rows) % 3 != 1

    module, count = Decode(), Dim("count")
    cases = [inputs(5), inputs(2)]
    found = run_in_onnx(module, cases[0], [{0: count}] * 3, cases[1])
    for arguments, (points,) in zip(cases, found, strict=True):
        torch.testing.assert_close(points, module(*arguments), atol=1e-3, rtol=1e-5)
        assert not points[1].any()
