"""A trained detector -> a file for a runtime, with all that is needed to use it there."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

from maskrcnn_benchmark.build.data import image_format_of
from maskrcnn_benchmark.build.model_file import make_manifest
from maskrcnn_benchmark.errors import ConfigError, ExportError
from maskrcnn_benchmark.export.graph import DetectionGraph
from maskrcnn_benchmark.modeling.detector.detector import Detector
from maskrcnn_benchmark.modeling.detector.exported_detector import (
    ExportedDetector,
    GraphInput,
    InputKind,
)
from maskrcnn_benchmark.modeling.detector.onnx_detector import OnnxDetector
from maskrcnn_benchmark.modeling.norm_folding import fold_frozen_norms
from maskrcnn_benchmark.numerics import get_numerics
from maskrcnn_benchmark.predict.loading import LoadedModel

Format = Literal["onnx", "torch", "aoti", "openvino"]
ENDINGS: dict[Format, str] = {
    "onnx": ".onnx",
    "torch": ".pt2",
    "aoti": ".pt2",
    "openvino": ".xml",
}


def export_model(
    model: LoadedModel,
    path: str | os.PathLike[str],
    *,
    format: Format = "onnx",
    input_kind: InputKind = "tensor",
    source: str = "",
) -> Path:
    """Write a detector for a runtime.

    Args:
        model: on the CPU.
        path: of the file, which ends as `ENDINGS` says; its folder is made if it is not there.
        format: onnx; torch: what `torch.export` writes; aoti: compiled ahead of time; openvino: also writes a `.bin`.
        input_kind: see `exported_detector.InputKind`.
        source: what the model was loaded from, for the file's own account of itself.

    Raises:
        ConfigError: for another format, input or ending.
        MissingExtraError: without the format's packages.
        ExportError: if the model cannot be expressed; the message names the part and what to do.
    """
    path = Path(path)
    check_request(path, format=format, input_kind=input_kind)
    graph = make_graph(model, input_kind=input_kind)
    metadata = describe(model, graph, input_kind=input_kind, source=source)
    path.parent.mkdir(parents=True, exist_ok=True)
    arguments: dict[str, Any] = {"channels": model.cfg.INPUT.CHANNELS, "metadata": metadata}
    if format == "torch":
        from maskrcnn_benchmark.export.torch_export import export_torch

        return export_torch(graph, path, **arguments)
    if format == "aoti":
        from maskrcnn_benchmark.export.torch_export import compile_ahead

        return compile_ahead(graph, path, **arguments)
    from maskrcnn_benchmark.export.onnx_export import export_onnx

    around = _resizing(model) if input_kind == "image" else None
    if format == "onnx":
        return export_onnx(graph, path, resizing=around, **arguments)
    from maskrcnn_benchmark.export.openvino_export import convert_to_openvino

    with tempfile.TemporaryDirectory() as folder:
        draft = export_onnx(graph, Path(folder) / "model.onnx", resizing=around, **arguments)
        return convert_to_openvino(draft, path, metadata=metadata)


def open_detector(path: str | os.PathLike[str], *, format: Format) -> ExportedDetector:
    """Open what `export_model` wrote.

    Raises:
        CheckpointError: if it cannot be read.
    """
    if format == "onnx":
        return OnnxDetector(path)
    if format == "openvino":
        from maskrcnn_benchmark.export.openvino_export import OpenVinoDetector

        return OpenVinoDetector(path)
    from maskrcnn_benchmark.export.torch_export import TorchDetector

    return TorchDetector(path, is_compiled=format == "aoti")


def check_request(path: Path, *, format: str, input_kind: str) -> None:
    """Raise if there is no such format or input, or the file cannot have its name.

    Raises:
        ConfigError: says what there is.
    """
    if format not in get_args(Format):
        raise ConfigError(f"format: expected one of {', '.join(get_args(Format))}, got {format!r}")
    if input_kind not in get_args(InputKind):
        raise ConfigError(
            f"input: expected one of {', '.join(get_args(InputKind))}, got {input_kind!r}"
        )
    ending = ENDINGS[format]  # type: ignore[index]
    if path.suffix != ending:
        raise ConfigError(
            f"the format {format} is written to a file whose name ends in {ending}, got {path}"
        )
    if path.is_dir() or any(above.is_file() for above in path.parents):
        raise ConfigError(
            f"{path}: expected the name of a new file, got a folder, or a file where a folder is to be. Choose another "
            "name with -o"
        )
    if input_kind == "image" and format in ("torch", "aoti"):
        raise ConfigError(
            f"--input image: resizing is a part of ONNX graphs only, not of the format {format}. "
            "Choose --input pixels"
        )


def make_graph(model: LoadedModel, *, input_kind: InputKind = "tensor") -> DetectionGraph:
    """The network as a function of tensors, with its normalisation if that is asked for.

    Raises:
        ExportError: if it cannot be exported as it is configured.
    """
    cfg, network = model.cfg, model.network
    if not isinstance(network, Detector) or isinstance(network, ExportedDetector):
        raise ExportError(
            f"a {type(network).__name__} cannot be exported; name the checkpoint of a detector"
        )
    if cfg.TEST.BBOX_AUG.ENABLED:
        raise ExportError(
            "TEST.BBOX_AUG.ENABLED: test-time augmentation runs the network several times and is no part of it; "
            "the file's figures would not be those of `maskrcnn test`. Add: TEST.BBOX_AUG.ENABLED False"
        )
    if input_kind != "tensor" and not image_format_of(cfg).is_photograph:
        raise ExportError(
            f"INPUT.CHANNELS {cfg.INPUT.CHANNELS}, INPUT.BIT_DEPTH {cfg.INPUT.BIT_DEPTH}: --input {input_kind} is for "
            "RGB of 8 bits. Choose --input tensor"
        )
    return DetectionGraph(
        # A copy: the loaded network is what the file is compared with.
        fold_frozen_norms(copy.deepcopy(network).cpu()).eval(),
        takes_pixels=input_kind != "tensor",
        mean=cfg.INPUT.PIXEL_MEAN,
        std=cfg.INPUT.PIXEL_STD,
        to_bgr255=cfg.INPUT.TO_BGR255,
    ).eval()


def describe(
    model: LoadedModel, graph: DetectionGraph, *, input_kind: InputKind, source: str = ""
) -> dict[str, str]:
    """What an exported file says about itself: the manifest of a checkpoint, and what the graph takes."""
    cfg, schema = model.cfg, model.keypoint_schema
    manifest = make_manifest(
        cfg,
        class_names=model.class_names,
        category_ids=[ids for _, ids in sorted(model.category_ids.items())],
        keypoints=None if schema is None else schema.to_dict(),
        provenance={"source": os.path.basename(source), "dialect": "native"},
    )
    taken = GraphInput(
        kind=input_kind,
        size_divisible=graph.detector.size_divisible,
        mean=tuple(cfg.INPUT.PIXEL_MEAN),
        std=tuple(cfg.INPUT.PIXEL_STD),
        to_bgr255=cfg.INPUT.TO_BGR255,
    )
    return manifest.to_metadata() | taken.to_metadata()


def _resizing(model: LoadedModel) -> Callable[[Any], Any]:
    """Function that puts the test's resizing around an ONNX graph."""
    from maskrcnn_benchmark.export.image_input import add_resizing, check_rule

    cfg = model.cfg
    rule = get_numerics(cfg.MODEL.NUMERICS).resize
    check_rule(rule)  # Before minutes are spent on the graph.
    divisor = max(cfg.DATALOADER.SIZE_DIVISIBILITY, getattr(model.network, "size_divisible", 0))

    def around(graph: Any) -> Any:
        return add_resizing(
            graph,
            min_size=cfg.INPUT.MIN_SIZE_TEST,
            max_size=cfg.INPUT.MAX_SIZE_TEST,
            rule=rule,
            size_divisible=divisor,
        )

    return around
