"""Mask R-CNN in OpenVINO: the same as in ONNX Runtime (issue 4, done-when 1)."""

import itertools

import pytest

from maskrcnn_benchmark.errors import CheckpointError
from maskrcnn_benchmark.export.graph import DetectionGraph
from maskrcnn_benchmark.export.onnx_export import export_onnx
from maskrcnn_benchmark.export.openvino_export import OpenVinoDetector, convert_to_openvino
from maskrcnn_benchmark.export.verification import Differences, Tolerance, compare
from maskrcnn_benchmark.modeling.detector.exported_detector import GraphInput
from tests.export.architectures import (
    ARCHITECTURES,
    detect,
    find_nothing_in_blank,
    picture_batch,
)

pytest.importorskip("openvino")


@pytest.mark.slow
def test_it_finds_what_pytorch_finds(tmp_path):
    model = ARCHITECTURES["Mask R-CNN"]()
    find_nothing_in_blank(model)
    draft = export_onnx(DetectionGraph(model), tmp_path / "model.onnx")
    metadata = GraphInput().to_metadata()
    path = convert_to_openvino(draft, tmp_path / "model.xml", metadata=metadata)
    assert path.with_suffix(".bin").is_file()
    exported = OpenVinoDetector(path)
    differences = Differences()
    for count, (height, width) in itertools.product((1, 2, 5), ((128, 160), (224, 96), (64, 288))):
        images, sizes = picture_batch(count, height, width, seed=count)
        expected, found = detect(model, images, sizes), detect(exported, images, sizes)
        assert found.valid.sum(dim=1).tolist() == expected.valid.sum(dim=1).tolist()
        compare(expected, found, differences)
    assert differences.detections >= 100
    assert differences.passes(Tolerance()), differences
    images, sizes = picture_batch(3, 128, 160)
    images[1] = 0
    expected, found = detect(model, images, sizes), detect(exported, images, sizes)
    assert found.valid.sum(dim=1).tolist() == expected.valid.sum(dim=1).tolist()
    assert not found.valid[1].any()


def test_a_file_that_is_none(tmp_path):
    (tmp_path / "model.xml").write_text("<net/>")
    with pytest.raises(CheckpointError, match="cannot be read by OpenVINO"):
        OpenVinoDetector(tmp_path / "model.xml")
