"""Whole detectors in ONNX Runtime: one file each, for batches and images of any size (issue 4, done-when 1)."""

import copy
import itertools

import onnx
import pytest
import torch

from maskrcnn_benchmark.errors import CheckpointError, ExportError
from maskrcnn_benchmark.export.graph import DetectionGraph
from maskrcnn_benchmark.export.onnx_export import export_onnx
from maskrcnn_benchmark.export.verification import Differences, Tolerance, compare
from maskrcnn_benchmark.modeling.detector.onnx_detector import OnnxDetector
from maskrcnn_benchmark.modeling.norm_folding import fold_frozen_norms
from tests.export.architectures import (
    ARCHITECTURES,
    OTHERS,
    detect,
    find_nothing_in_blank,
    picture_batch,
)
from tests.thin_models import thin_detector

BATCHES = (1, 2, 5)
SIZES = ((128, 160), (224, 96), (64, 288))


def graph_of(model):
    """As `make_graph` does it."""
    return DetectionGraph(fold_frozen_norms(copy.deepcopy(model)))


def check(model, path, *, sizes=SIZES):
    """Compare with PyTorch on batches of several sizes; how many were detected."""
    exported = OnnxDetector(path, threads=1)
    differences = Differences()
    for count, (height, width) in itertools.product(BATCHES, sizes):
        images, image_sizes = picture_batch(count, height, width, seed=count)
        expected = detect(model, images, image_sizes)
        found = detect(exported, images, image_sizes)
        assert found.valid.sum(dim=1).tolist() == expected.valid.sum(dim=1).tolist()
        compare(expected, found, differences)
    assert differences.images == 24
    assert differences.passes(Tolerance()), differences
    return exported, differences


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_finds_what_pytorch_finds(name, tmp_path):
    model = ARCHITECTURES[name]()
    find_nothing_in_blank(model)
    path = export_onnx(graph_of(model), tmp_path / "model.onnx")
    exported, differences = check(model, path)
    assert differences.detections >= 100
    # Nothing in a blank picture, alone and between two others.
    images, sizes = picture_batch(3, 128, 160)
    images[1] = 0
    for chosen in ([1], [0, 1, 2]):
        expected = detect(model, images[chosen], sizes[chosen])
        found = detect(exported, images[chosen], sizes[chosen])
        assert found.valid.sum(dim=1).tolist() == expected.valid.sum(dim=1).tolist()
        assert found.valid.sum(dim=1)[chosen.index(1)] == 0
        assert not found.boxes[chosen.index(1)].any()
        if found.masks is not None:
            assert found.masks.shape == expected.masks.shape
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert {node.domain for node in onnx.load(path).graph.node} == {""}
    assert "NonMaxSuppression" in operators
    assert ("RoiAlign" in operators) == (name != "RetinaNet")


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_parts(name, tmp_path):
    model = OTHERS[name]()
    path = export_onnx(graph_of(model), tmp_path / "model.onnx")
    try:
        OnnxDetector(path)
    except CheckpointError as error:
        if "Install a newer onnxruntime" not in str(error):
            raise
        pytest.skip(str(error))  # That of Python 3.10 has no DeformConv.
    _, differences = check(model, path)
    assert differences.detections >= 100


def test_a_part_without_a_form_is_named(tmp_path):
    model = thin_detector(with_masks=False)
    model.roi_heads.box.post_processor.nms = "soft_linear"
    with pytest.raises(ExportError, match=r"roi_heads.box suppresses by soft NMS.*NMS_TYPE hard"):
        export_onnx(graph_of(model), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_what_the_exporter_cannot_trace_is_reported(tmp_path):
    class Branching(torch.nn.Module):
        def forward(self, x):
            return x + 1 if x.sum() > 0 else x

    model = thin_detector(with_heads=False)
    model.backbone.body.stem.add_module("relu", Branching())
    original = model.backbone.forward
    model.backbone.forward = lambda x: original(Branching()(x))
    with pytest.raises(ExportError, match=r"cannot be expressed in ONNX.*another --format"):
        export_onnx(graph_of(model), tmp_path / "model.onnx")
