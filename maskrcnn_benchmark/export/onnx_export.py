"""A detector as one ONNX file: any number of images, any size, standard operators only."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from maskrcnn_benchmark.errors import ExportError
from maskrcnn_benchmark.export.graph import INPUT_NAMES, DetectionGraph
from maskrcnn_benchmark.export.image_input import PADDED_NAMES, inner_names
from maskrcnn_benchmark.layers.deform_conv import DeformConv, ModulatedDeformConv
from maskrcnn_benchmark.utils.atomic import atomic_write

# What the exporter itself writes; RoiAlign and Resize have all the forms that are used here.
OPSET = 18
# The first with DeformConv that the exporter can convert to.
DEFORM_OPSET = 20
MAX_BATCH = 1024
MAX_SIDE = 2**15
# Of images of any size (C4), for the tracer alone: what is smaller has maps of one cell, for which it would want a
# graph of their own, though this one is as right for them.
MIN_SIDE = 64
# Two images whose sides differ on every level, the coarsest of RetinaNet included: what is equal by chance, or 1, would
# be taken for a rule.
_EXAMPLE = (2, 192, 320)


def export_onnx(
    graph: DetectionGraph,
    path: str | os.PathLike[str],
    *,
    channels: int = 3,
    metadata: Mapping[str, str] | None = None,
    resizing: Callable[[Any], Any] | None = None,
) -> Path:
    """Write a detector to a file.

    Args:
        graph: what is exported, in evaluation mode, on the CPU.
        path: of the `.onnx` file; written whole or not at all.
        channels: of the images.
        metadata: text by key, kept in the file.
        resizing: puts `image_input.add_resizing` around the graph, which takes pixels.

    Returns:
        The path.

    Raises:
        MissingExtraError: without the packages of the extra `onnx`.
        ExportError: if a part cannot be expressed in ONNX; the message names it.
    """
    inputs, outputs = list(INPUT_NAMES), graph.output_names()
    if resizing is not None:
        inputs, outputs = list(PADDED_NAMES), inner_names(outputs)
    program = to_onnx(graph, channels=channels, input_names=inputs, output_names=outputs)
    program.model.metadata_props.update(metadata or {})
    model = program.model_proto if resizing is None else resizing(program.model_proto)
    path = Path(path)
    with atomic_write(path, "wb") as file:
        file.write(model.SerializeToString())
    return path


def to_onnx(
    graph: DetectionGraph,
    *,
    channels: int = 3,
    input_names: Sequence[str] = INPUT_NAMES,
    output_names: Sequence[str] | None = None,
) -> Any:
    """The detector as a `torch.onnx.ONNXProgram`; see `export_onnx`."""
    from maskrcnn_benchmark.export.onnx_ops import translations

    check_exportable(graph.detector)
    has_deform = any(isinstance(part, DeformConv | ModulatedDeformConv) for part in graph.modules())
    if has_deform and graph.detector.with_keypoints:
        raise ExportError(
            "a keypoint head behind deformable convolutions has no form in one ONNX operator set. "
            "Use --format torch, or MODEL.RESNETS.STAGE_WITH_DCN all False."
        )
    with quiet(), torch.no_grad():
        try:
            return torch.onnx.export(
                graph,
                example_inputs(graph, channels),
                dynamo=True,
                opset_version=DEFORM_OPSET if has_deform else OPSET,
                dynamic_shapes=dynamic_shapes(graph),
                custom_translation_table=translations(),
                input_names=list(input_names),
                output_names=list(output_names or graph.output_names()),
                optimize=True,
                verbose=False,
            )
        except Exception as error:  # The exporter's errors have no common base.
            raise ExportError(explain(error, "ONNX")) from error


def check_exportable(detector: nn.Module) -> None:
    """Raise for what is known not to have a form in ONNX.

    Raises:
        ExportError: names the part and what to do.
    """
    for name, part in detector.named_modules():
        rule = getattr(getattr(part, "post_processor", None), "nms", "hard")
        if rule != "hard":
            raise ExportError(
                f"{name} suppresses by soft NMS ({rule}), which has no form in ONNX. Export with "
                "MODEL.ROI_HEADS.NMS_TYPE hard, or use --format torch."
            )


def example_inputs(graph: DetectionGraph, channels: int = 3) -> tuple[Tensor, Tensor]:
    """A batch that the graph can be traced with."""
    count, height, width = _EXAMPLE
    divisor = max(graph.detector.size_divisible, 1)
    height, width = (-(-side // divisor) * divisor for side in (height, width))
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, channels, height, width, generator=generator) * 255
    sizes = torch.tensor([[height, width], [height - 3, width - 5]], dtype=torch.float32)
    return images, sizes


def dynamic_shapes(graph: DetectionGraph) -> dict[str, dict[int, Any]]:
    """What may change from call to call: the number of images, and their sides in whole cells of the coarsest map."""
    batch = Dim("batch", min=1, max=MAX_BATCH)
    divisor = graph.detector.size_divisible
    height, width = (Dim(name, min=MIN_SIDE, max=MAX_SIDE) for name in ("height", "width"))
    if divisor > 1:
        # Then the sizes of all maps are simple products, which also halves the time of an export.
        rows, columns = (Dim(name, max=MAX_SIDE // divisor) for name in ("rows", "columns"))
        height, width = divisor * rows, divisor * columns
    return {"images": {0: batch, 2: height, 3: width}, "image_sizes": {0: batch}}


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' remarks on their own internals."""
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


def explain(error: BaseException, target: str) -> str:
    """The innermost cause in one line, with what to do."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    line = (str(cause).strip() or type(cause).__name__).splitlines()[0]
    return (
        f"the model cannot be expressed in {target}: {type(cause).__name__}: {line}. Replace the part it names by a "
        "shipped one, or choose another --format."
    )
