"""A detector as a graph of PyTorch's own: `torch.export`'s `.pt2`, and compiled ahead of time."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._sympy.value_ranges import ValueRanges

from maskrcnn_benchmark.errors import CheckpointError, ExportError
from maskrcnn_benchmark.export.graph import DetectionGraph
from maskrcnn_benchmark.export.onnx_export import (
    MIN_SIDE,
    dynamic_shapes,
    example_inputs,
    explain,
    quiet,
)
from maskrcnn_benchmark.modeling.detector.exported_detector import ExportedDetector
from maskrcnn_benchmark.utils.atomic import atomic_write

_METADATA_FILE = "maskrcnn_benchmark.json"


def export_torch(
    graph: DetectionGraph,
    path: str | os.PathLike[str],
    *,
    channels: int = 3,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a detector as `torch.export` keeps it.

    It is read by `torch.export.load` where this package has been imported, for its operators.

    Args:
        graph: what is exported, in evaluation mode, on the CPU.
        path: of the `.pt2` file; written whole or not at all.
        channels: of the images.
        metadata: text by key, kept in the file.

    Raises:
        ExportError: if a part cannot be traced; the message says where.
    """
    program = to_program(graph, channels=channels)
    for symbol, bounds in program.range_constraints.items():
        if bounds.lower == MIN_SIDE:
            program.range_constraints[symbol] = ValueRanges(1, bounds.upper)
    content = io.BytesIO()
    with quiet():
        torch.export.save(
            program, content, extra_files={_METADATA_FILE: _describe(graph, metadata)}
        )
    path = Path(path)
    with atomic_write(path, "wb") as file:
        file.write(content.getvalue())
    return path


def compile_ahead(
    graph: DetectionGraph,
    path: str | os.PathLike[str],
    *,
    channels: int = 3,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Compile a detector into a package with a library of machine code for this kind of computer.

    Args:
        graph: what is exported, in evaluation mode, on the CPU.
        path: of the `.pt2` package; written whole or not at all.
        channels: of the images.
        metadata: text by key, kept in the file.

    Raises:
        ExportError: if a part cannot be traced or compiled.
    """
    from torch._inductor import aoti_compile_and_package

    program = to_program(graph, channels=channels)
    path = Path(path)
    with quiet(), torch.no_grad(), tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder) / path.name
        try:
            aoti_compile_and_package(
                program,
                package_path=os.fspath(draft),
                inductor_configs={
                    "aot_inductor.metadata": {_METADATA_FILE: _describe(graph, metadata)}
                },
            )
        except Exception as error:  # Inductor's errors, and the compiler's, have no common base.
            raise ExportError(explain(error, "compiled code")) from error
        os.replace(draft, path)
    return path


def to_program(graph: DetectionGraph, *, channels: int = 3) -> torch.export.ExportedProgram:
    """Trace a detector for any number of images of any size.

    Raises:
        ExportError: if a part cannot be traced; the message says where.
    """
    with quiet(), torch.no_grad():
        try:
            return torch.export.export(
                graph,
                example_inputs(graph, channels),
                dynamic_shapes=dynamic_shapes(graph),
                strict=False,
            )
        except Exception as error:  # The exporter's errors have no common base.
            raise ExportError(explain(error, "a graph of PyTorch")) from error


class TorchDetector(ExportedDetector):
    """A `.pt2` file of `export_torch`."""

    def __init__(self, path: str | os.PathLike[str], *, is_compiled: bool = False) -> None:
        """Open a file.

        Args:
            path: of the file.
            is_compiled: whether it is of `compile_ahead`.

        Raises:
            CheckpointError: if it cannot be read, or is no detector of ours.
        """
        # The operators are registered where they are defined.
        import maskrcnn_benchmark.modeling.detector.generalized_rcnn  # noqa: F401

        load = self._load_package if is_compiled else self._load_program
        try:
            with quiet():
                function, text = load(os.fspath(path))
            content = json.loads(text)
            names, metadata = content["outputs"], content["metadata"]
        except Exception as error:  # Zip, JSON, pickle and torch each have their own.
            raise CheckpointError(
                f"{path} cannot be read as a detector of `maskrcnn export`: {str(error).strip()[:200]}. Export it again"
            ) from error
        super().__init__(metadata=metadata, output_names=names, source=path)
        self._function = function

    def run(self, inputs: dict[str, Tensor]) -> Sequence[Tensor]:
        """See `ExportedDetector.run`."""
        with torch.no_grad():
            outputs: Sequence[Tensor] = self._function(
                inputs["images"].contiguous(), inputs["image_sizes"]
            )
        return outputs

    @staticmethod
    def _load_program(path: str) -> tuple[Any, str]:
        extra = {_METADATA_FILE: ""}
        program = torch.export.load(path, extra_files=extra)
        # A guard against maps of one cell, which the graph is as right for.
        return program.module(check_guards=False), extra[_METADATA_FILE]

    @staticmethod
    def _load_package(path: str) -> tuple[Any, str]:
        from torch._inductor import aoti_load_package

        package: Any = aoti_load_package(path)
        return package, package.get_metadata()[_METADATA_FILE]


def _describe(graph: DetectionGraph, metadata: Mapping[str, str] | None) -> str:
    return json.dumps({"outputs": graph.output_names(), "metadata": dict(metadata or {})})
