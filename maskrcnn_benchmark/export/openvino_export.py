"""A detector for OpenVINO: its `.xml` (the graph) and `.bin` (the weights) beside it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskrcnn_benchmark.errors import CheckpointError, ExportError, MissingExtraError
from maskrcnn_benchmark.modeling.detector.exported_detector import ExportedDetector

_KEY = "maskrcnn_benchmark"


def convert_to_openvino(
    onnx_file: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Convert a `.onnx` file of ours.

    Args:
        onnx_file: the file.
        path: of the `.xml` file; the weights go beside it under the same name.
        metadata: text by key, kept in the file.

    Raises:
        MissingExtraError: without OpenVINO.
        ExportError: if OpenVINO cannot express an operator; the message names it.
    """
    openvino = _import_openvino()
    path = Path(path)
    try:
        model = openvino.convert_model(os.fspath(onnx_file))
    except Exception as error:  # OpenVINO's errors have no public base.
        raise ExportError(
            f"OpenVINO cannot convert the model: {str(error).strip()[:300]}. Use --format onnx"
        ) from error
    model.set_rt_info(json.dumps(dict(metadata or {})), _KEY)
    # Both files under their names at once, as far as a file system can.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder) / path.name
        # float16 weights are OpenVINO's default; ours stay what they are.
        openvino.save_model(model, draft, compress_to_fp16=False)
        os.replace(draft.with_suffix(".bin"), path.with_suffix(".bin"))
        os.replace(draft, path)
    return path


class OpenVinoDetector(ExportedDetector):
    """An `.xml` file of `convert_to_openvino`."""

    def __init__(self, path: str | os.PathLike[str], *, device: str = "CPU") -> None:
        """Open a file.

        Args:
            path: of the `.xml` file.
            device: OpenVINO's name of it.

        Raises:
            MissingExtraError: without OpenVINO.
            CheckpointError: if it cannot be read, or is no detector.
        """
        openvino = _import_openvino()
        try:
            core = openvino.Core()
            model = core.read_model(os.fspath(path))
            metadata = json.loads(model.get_rt_info(_KEY).value)
            # What a CPU may round to bfloat16 for speed must not be, to give the same numbers.
            compiled = core.compile_model(model, device, {"INFERENCE_PRECISION_HINT": "f32"})
        except Exception as error:  # OpenVINO's errors have no public base.
            raise CheckpointError(
                f"{path} cannot be read by OpenVINO as a detector of `maskrcnn export`: {str(error).strip()[:300]}. "
                "Export it again"
            ) from error
        names = [output.get_any_name() for output in compiled.outputs]
        super().__init__(metadata=metadata, output_names=names, source=path)
        self._compiled = compiled

    def run(self, inputs: dict[str, Tensor]) -> Sequence[Tensor]:
        """See `ExportedDetector.run`."""
        feeds = {name: np.ascontiguousarray(value.numpy()) for name, value in inputs.items()}
        found = self._compiled(feeds)
        return [torch.from_numpy(np.array(found[output])) for output in self._compiled.outputs]


def _import_openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("openvino", extra="openvino", purpose="OpenVINO") from error
    return openvino
