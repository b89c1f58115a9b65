"""The error tree: one base, and the built-in that old code would have caught."""

from __future__ import annotations

import pytest

from maskrcnn_benchmark import errors
from maskrcnn_benchmark.errors import MaskRCNNError, MissingExtraError

BUILT_INS = {
    "ConfigError": ValueError,
    "DatasetError": ValueError,
    "ShapeError": ValueError,
    "CheckpointError": RuntimeError,
    "TrainingError": RuntimeError,
    "ExportError": RuntimeError,
    "MissingExtraError": ImportError,
}


def test_the_tree_is_complete() -> None:
    found = {cls.__name__ for cls in MaskRCNNError.__subclasses__()}
    assert found == set(BUILT_INS)
    assert errors.__doc__ is not None
    assert all(name in errors.__doc__ for name in found)


@pytest.mark.parametrize("name", BUILT_INS)
def test_each_is_a_built_in_too(name: str) -> None:
    error = getattr(errors, name)
    assert issubclass(error, MaskRCNNError)
    assert issubclass(error, BUILT_INS[name])
    assert error.__doc__


def test_a_missing_extra_says_what_to_install() -> None:
    error = MissingExtraError("onnxruntime", extra="onnx", purpose="Running an ONNX model")
    text = str(error)
    assert text.startswith("Running an ONNX model needs the package 'onnxruntime'")
    assert "pip install 'maskrcnn-benchmark[onnx]'" in text
    assert (error.package, error.extra, error.name) == ("onnxruntime", "onnx", "onnxruntime")
