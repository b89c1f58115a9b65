"""A run's folder -> files for other runtimes, and back into the Predictor and the test."""

import json

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from maskrcnn_benchmark.build.exported import manifest_of, open_exported
from maskrcnn_benchmark.cli import app
from maskrcnn_benchmark.errors import CheckpointError, ConfigError, ExportError
from maskrcnn_benchmark.export.model_export import check_request, export_model, make_graph
from maskrcnn_benchmark.modeling.detector.exported_detector import INPUT_KEY, GraphInput
from maskrcnn_benchmark.predict import Predictor
from maskrcnn_benchmark.predict.loading import load_model
from tests.export.conftest import CLASS_NAMES


def maskrcnn(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def of(pictures):
    return [word for picture in pictures for word in ("--image", picture)]


@pytest.fixture(scope="module")
def exported(run, pictures, tmp_path_factory):
    """Written and verified by the command."""
    path = tmp_path_factory.mktemp("onnx") / "made" / "as needed" / "model.onnx"
    result = maskrcnn("export", run, "-o", path, "--verify", *of(pictures))
    assert result.exit_code == 0, result.output
    assert f"Wrote {path}" in result.output
    assert "boxes, pixels" in result.output
    assert "detections in 6 images." in result.output
    return path


@pytest.mark.slow
def test_the_predictor_reads_it(exported, run, pictures):
    ours, theirs = (Predictor(source, score_threshold=0.1) for source in (run, exported))
    assert theirs.class_names == tuple(CLASS_NAMES)
    assert theirs.category_ids == ours.category_ids
    assert theirs.cfg.MODEL.NUMERICS == ours.cfg.MODEL.NUMERICS
    total = 0
    for one, two in zip(ours(pictures), theirs(pictures), strict=True):
        assert one.labels.tolist() == two.labels.tolist()
        np.testing.assert_allclose(one.boxes, two.boxes, atol=0.05)
        np.testing.assert_allclose(one.scores, two.scores, atol=1e-3)
        assert len(two.masks) == len(two)
        total += len(one)
    assert total >= 5


@pytest.mark.slow
def test_it_is_scored_like_a_checkpoint(exported, run):
    for source in (run, exported):
        result = maskrcnn("test", source)
        assert result.exit_code == 0, result.output
    found = []
    for folder in (run, exported.with_suffix("")):
        content = json.loads((folder / "inference" / "toy_val" / "bbox.json").read_text())
        found.append(sorted((each["image_id"], each["score"]) for each in content))
    assert len(found[0]) >= 5
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)


@pytest.mark.slow
def test_it_says_what_it_is(exported):
    detector = open_exported(exported)
    manifest = manifest_of(detector, exported)
    assert manifest.classes == CLASS_NAMES
    assert manifest.category_ids == [1, 2, 3, 4, 5]
    assert manifest.numerics == "detectron"
    assert manifest.preprocessing["MIN_SIZE_TEST"] == 64
    assert detector.graph_input.kind == "tensor"
    assert detector.graph_input.size_divisible == 32
    # It does not export once more.
    with pytest.raises(ExportError, match="OnnxDetector cannot be exported"):
        make_graph(load_model(exported, score_threshold=1.0))
    result = maskrcnn("test", exported, "TEST.BBOX_AUG.ENABLED", "True")
    assert result.exit_code == 2
    assert "whose inner results test-time augmentation" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pixels", "image"])
def test_normalisation_and_resizing_inside(kind, run, pictures, tmp_path):
    path = tmp_path / "model.onnx"
    result = maskrcnn("export", run, "-o", path, "--input", kind, *of(pictures))
    assert result.exit_code == 0, result.output
    ours, theirs = (Predictor(source, score_threshold=0.1) for source in (run, path))
    one, two = ours(pictures[0]), theirs(pictures[0])
    assert one.labels.tolist() == two.labels.tolist()
    np.testing.assert_allclose(one.boxes, two.boxes, atol=0.05 if kind == "pixels" else 2)
    if kind == "image":
        session = open_exported(path).session
        assert [value.name for value in session.get_inputs()] == ["images"]
        assert session.get_inputs()[0].type == "tensor(uint8)"
        result = maskrcnn("test", path)
        assert result.exit_code == 2
        assert "resizes images itself" in result.stderr


@pytest.mark.slow
def test_torch_export(run, pictures, tmp_path):
    path = tmp_path / "model.pt2"
    result = maskrcnn("export", run, "-f", "torch", "-o", path, *of(pictures))
    assert result.exit_code == 0, result.output


@pytest.mark.slow
def test_openvino(run, pictures, tmp_path):
    pytest.importorskip("openvino")
    path = tmp_path / "model.xml"
    result = maskrcnn("export", run, "-f", "openvino", "-o", path, *of(pictures))
    assert result.exit_code == 0, result.output


@pytest.mark.slow
def test_a_file_that_finds_other_things_fails(run, exported, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "maskrcnn_benchmark.export.model_export.export_model",
        lambda model, path, **_: path.write_bytes(exported.read_bytes()) and path,
    )
    words = ("MODEL.ROI_HEADS.NMS", "0.3", "MODEL.RPN.NMS_THRESH", "0.3")
    result = maskrcnn("export", run, *words, "-o", tmp_path / "m.onnx", *of(pictures))
    assert result.exit_code == 1
    assert "does not find what the network finds" in result.stderr


def test_wrong_requests(run, tmp_path):
    for words, message in (
        (("-f", "tflite"), "expected one of onnx, torch, aoti, openvino, got 'tflite'"),
        (("-o", "model.pb"), "a file whose name ends in .onnx, got model.pb"),
        (("--input", "jpeg"), "expected one of tensor, pixels, image, got 'jpeg'"),
        (("-f", "torch", "--input", "image"), "Choose --input pixels"),
    ):
        result = maskrcnn("export", run, *words)
        assert result.exit_code == 2
        assert message in result.stderr
    for name in ("e2e_mask_rcnn_R_50_FPN_1x.yaml", "e2e_mask_rcnn_R_50_FPN_1x"):
        result = maskrcnn("export", name, "MODEL.WEIGHT", "")
        assert result.exit_code == 2
        assert "names no weights" in result.stderr
    with pytest.raises(ConfigError, match=r"ends in \.pt2"):
        check_request(tmp_path / "model.onnx", format="aoti", input_kind="tensor")


def test_what_is_no_part_of_a_graph(run, tmp_path):
    result = maskrcnn("export", run, "TEST.BBOX_AUG.ENABLED", "True", "-o", tmp_path / "m.onnx")
    assert result.exit_code == 1
    assert "Add: TEST.BBOX_AUG.ENABLED False" in result.stderr
    model = load_model(run, device="cpu", score_threshold=1.0)
    model.cfg.INPUT.BIT_DEPTH = 16
    with pytest.raises(ExportError, match=r"BIT_DEPTH 16.*Choose --input tensor"):
        export_model(model, tmp_path / "m.onnx", input_kind="pixels")
    assert not list(tmp_path.iterdir())


def test_resizing_without_a_form_is_reported_first(run, tmp_path, monkeypatch):
    monkeypatch.setattr("maskrcnn_benchmark.export.onnx_export.to_onnx", pytest.fail)
    model = load_model(run, device="cpu", score_threshold=1.0)
    model.cfg.MODEL.NUMERICS = "torchvision"
    with pytest.raises(ExportError, match=r"resize as torchvision does.*--input pixels"):
        export_model(model, tmp_path / "m.onnx", input_kind="image")


def test_files_that_are_no_detectors(tmp_path):
    with pytest.raises(CheckpointError, match="there is no such file"):
        Predictor(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(CheckpointError, match=r"Is it a whole \.onnx file"):
        Predictor(tmp_path / "bad.onnx")
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]>
        other (float[1] x) => (float[1] y) { y = Identity (x) }"""
    )
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(
        CheckpointError, match=r"the outputs of .*other\.onnx are y; expected boxes"
    ):
        Predictor(tmp_path / "other.onnx")


@pytest.mark.parametrize("text", ['{"kind": "video"}', "[]", "{"])
def test_inputs_that_are_not_known(text):
    with pytest.raises(CheckpointError, match=r"what m\.onnx says about its input cannot be read"):
        GraphInput.from_metadata({INPUT_KEY: text}, source="m.onnx")


def test_names_that_a_file_cannot_have(tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "folder.onnx", tmp_path / "file" / "model.onnx"):
        with pytest.raises(ConfigError, match="expected the name of a new file"):
            check_request(path, format="onnx", input_kind="tensor")
