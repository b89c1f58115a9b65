"""A detector as one ONNX file: any number of images, any size, standard operators only."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim

from maskrcnn_benchmark.errors import ExportError
from maskrcnn_benchmark.export.graph import INPUT_NAMES, DetectionGraph
from maskrcnn_benchmark.export.onnx_ops import OPSET, translations
from maskrcnn_benchmark.utils.atomic import atomic_write

MAX_BATCH = 1024
# Two images of unlike sides: nothing that is equal by chance is taken for a rule.
_EXAMPLE = (2, 192, 256)


def export_onnx(
    graph: DetectionGraph,
    path: str | os.PathLike[str],
    *,
    channels: int = 3,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a detector to a file.

    Args:
        graph: what is exported, in evaluation mode, on the CPU.
        path: of the `.onnx` file; written whole or not at all.
        channels: of the images.
        metadata: text by key, kept in the file.

    Returns:
        The path.

    Raises:
        ExportError: if a part cannot be expressed in ONNX; the message names the operator.
    """
    path = Path(path)
    example = _example(graph, channels)
    batch = Dim("batch", min=1, max=MAX_BATCH)
    shapes = {
        "images": {0: batch, 2: Dim.AUTO, 3: Dim.AUTO},  # type: ignore[attr-defined]
        "image_sizes": {0: batch},
    }
    with _quiet(), torch.no_grad():
        try:
            program: Any = torch.onnx.export(
                graph,
                example,
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=shapes,
                custom_translation_table=translations(),
                input_names=list(INPUT_NAMES),
                output_names=graph.output_names(),
                optimize=True,
                verbose=False,
            )
        except Exception as error:  # The exporter's errors have no common base.
            raise ExportError(_explain(error)) from error
    program.model.metadata_props.update(metadata or {})
    with atomic_write(path, "wb") as file:
        file.write(program.model_proto.SerializeToString())
    return path


def _example(graph: DetectionGraph, channels: int) -> tuple[Tensor, Tensor]:
    count, height, width = _EXAMPLE
    divisor = max(graph.detector.size_divisible, 1)
    height, width = (-(-side // divisor) * divisor for side in (height, width))
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, channels, height, width, generator=generator) * 255
    sizes = torch.tensor([[height, width], [height - 3, width - 5]], dtype=torch.float32)
    return images, sizes


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on its own internals."""
    names = ("onnxscript", "onnx_ir", "torch.onnx", "torch.export")
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def _explain(error: BaseException) -> str:
    """The innermost cause in one line, with what to do."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    line = (str(cause).strip() or type(cause).__name__).splitlines()[0]
    text = str(error)
    if "soft_nms" in text:
        return (
            "soft NMS has no form in ONNX. Export with MODEL.ROI_HEADS.NMS_TYPE hard, "
            "or use --format torch."
        )
    return (
        f"the model cannot be expressed in ONNX: {type(cause).__name__}: {line}. "
        "Replace the part it names by a shipped one, or use --format torch."
    )
