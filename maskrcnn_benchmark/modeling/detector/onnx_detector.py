"""An exported detector in ONNX Runtime, in the place of a network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskrcnn_benchmark.errors import CheckpointError, MissingExtraError
from maskrcnn_benchmark.modeling.detector.exported_detector import ExportedDetector

_PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


class OnnxDetector(ExportedDetector):
    """A `.onnx` file of `maskrcnn export`."""

    def __init__(
        self, path: str | os.PathLike[str], *, device: str = "cpu", threads: int = 0
    ) -> None:
        """Open a file.

        Args:
            path: of the `.onnx` file.
            device: cpu, or cuda where ONNX Runtime was installed with it.
            threads: of one operator; 0 for ONNX Runtime's own choice.

        Raises:
            MissingExtraError: without ONNX Runtime.
            CheckpointError: if the file cannot be read, or is no detector.
        """
        session = open_session(path, device=device, threads=threads)
        super().__init__(
            metadata=session.get_modelmeta().custom_metadata_map,
            output_names=[output.name for output in session.get_outputs()],
            source=path,
        )
        self.session = session

    def run(self, inputs: dict[str, Tensor]) -> Sequence[Tensor]:
        """See `ExportedDetector.run`."""
        feeds = {name: np.ascontiguousarray(value.numpy()) for name, value in inputs.items()}
        return [torch.from_numpy(value) for value in self.session.run(None, feeds)]


def open_session(path: str | os.PathLike[str], *, device: str = "cpu", threads: int = 0) -> Any:
    """An `onnxruntime.InferenceSession`; see `OnnxDetector`.

    Raises:
        MissingExtraError: without ONNX Runtime.
        CheckpointError: if the file cannot be run.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            "onnxruntime", extra="onnx", purpose="a detector in ONNX"
        ) from error
    if not Path(path).is_file():
        raise CheckpointError(f"{path}: there is no such file")
    provider = _PROVIDERS.get(torch.device(device).type, _PROVIDERS["cpu"])
    if provider not in onnxruntime.get_available_providers():
        raise CheckpointError(
            f"{path}: this ONNX Runtime has no {provider}, only {', '.join(onnxruntime.get_available_providers())}. "
            "Choose the device cpu, or install onnxruntime-gpu"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Its remarks on shapes that it cannot tell before it runs.
    options.log_severity_level = 3
    providers = list(dict.fromkeys((provider, _PROVIDERS["cpu"])))
    try:
        return onnxruntime.InferenceSession(os.fspath(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime has many kinds of errors, none of them public.
        reason = str(error).strip().splitlines()[0]
        cure = "Is it a whole .onnx file? Write it again with `maskrcnn export`"
        if "NOT_IMPLEMENTED" in reason:  # DeformConv is younger than the rest.
            cure = f"Install a newer onnxruntime, this is {onnxruntime.__version__}"
        raise CheckpointError(f"{path} cannot be run by ONNX Runtime: {reason}. {cure}") from error
