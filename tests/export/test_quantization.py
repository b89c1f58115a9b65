"""A run's folder -> an ONNX file in int8 that finds what the one in float finds."""

import onnx
import pytest
from typer.testing import CliRunner

from maskrcnn_benchmark.build.exported import manifest_of, open_exported
from maskrcnn_benchmark.cli import app
from maskrcnn_benchmark.errors import ConfigError, ExportError
from maskrcnn_benchmark.export.model_export import export_model
from maskrcnn_benchmark.export.quantization import (
    LAST_LAYERS,
    QUANTIZED_KEY,
    agreement,
    find_layers,
    quantize,
)
from maskrcnn_benchmark.predict.loading import load_model
from tests.export.conftest import CLASS_NAMES


def maskrcnn(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def quantized_weights(path):
    """Names of the weights that are kept in 8 bits, without the ending that ONNX Runtime gives them."""
    graph = onnx.load(path).graph
    kept = {
        tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT8
    }
    return {name.removesuffix("_quantized") for name in kept if name.endswith("_quantized")}


@pytest.fixture(scope="module")
def model(run):
    return load_model(run, device="cpu", score_threshold=1.0)


@pytest.fixture(scope="module")
def source(model, tmp_path_factory):
    """The file in float."""
    return export_model(model, tmp_path_factory.mktemp("float") / "float.onnx")


@pytest.mark.slow
def test_it_finds_the_same(model, source, pictures, tmp_path):
    path = quantize(model, source, tmp_path / "int8.onnx", pictures)
    assert path.stat().st_size < 0.8 * source.stat().st_size

    weights = quantized_weights(path)
    assert sum("backbone" in name for name in weights) >= 10
    assert any(name.endswith("fc6.weight") for name in weights)
    assert any(name.endswith("rpn.head.conv.weight") for name in weights)
    assert not any(name.split(".")[-2] in LAST_LAYERS for name in weights)
    assert not any(".mask." in name for name in weights)

    before, after = open_exported(source), open_exported(path)
    assert after.metadata[QUANTIZED_KEY] == "int8"
    assert manifest_of(after, path).classes == CLASS_NAMES
    assert after.graph_input == before.graph_input
    result = agreement(model, before, after, pictures)
    assert result.detections >= 5
    assert result.found >= 0.7 * result.detections
    assert 0 < result.scores < 0.1
    assert agreement(model, before, before, pictures).found == result.detections


@pytest.mark.slow
@pytest.mark.parametrize(("option", "heading"), [((), "metric"), (("--no-test",), "IoU above 0.7")])
def test_the_command_says_what_it_changes(
    option, heading, run, source, pictures, tmp_path, monkeypatch
):
    monkeypatch.setattr(  # Exported once is enough.
        "maskrcnn_benchmark.export.model_export.export_model",
        lambda model, path, **_: path.write_bytes(source.read_bytes()) and path,
    )
    path = tmp_path / "int8.onnx"
    words = ("--int8", "--calibration", pictures[0].parent, "-o", path, *option)
    result = maskrcnn("export", run, *words)
    assert result.exit_code == 0, result.output
    assert "MiB; in float " in result.output
    assert heading in result.output
    assert ("toy_val" in result.output) == (not option)
    result = maskrcnn("predict", path, pictures[0], "-o", tmp_path / "found")
    assert result.exit_code == 0, result.output


def test_wrong_requests(run, tmp_path):
    (tmp_path / "empty").mkdir()
    for words, code, message in (
        (("--int8",), 2, "Add: --calibration FOLDER"),
        (("--int8", "--calibration", tmp_path / "empty"), 2, "no image in"),
        (("--calibration", tmp_path), 2, "are for --int8"),
        (("--int8", "-f", "torch"), 2, "--int8 is for the format onnx, got torch"),
        (("--int8", "--input", "image"), 1, "Choose --input pixels"),
    ):
        result = maskrcnn("export", run, *words)
        assert (result.exit_code, message in result.stderr) == (code, True), result.output


def test_graphs_without_known_layers(tmp_path):
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]>
        net (float[1, 1, 4, 4] x) => (float[1, 1, 4, 4] y) <float[1, 1, 1, 1] w = {2.0}> { y = Conv (x, w) }"""
    )
    with pytest.raises(ExportError, match="none is named bbox_pred"):
        find_layers(model)
    with pytest.raises(ConfigError, match="at least one image"):
        quantize(None, tmp_path / "float.onnx", tmp_path / "int8.onnx", [])
