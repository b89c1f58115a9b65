"""An exported ONNX file -> one whose convolutions calculate in 8 bits, by static quantisation after training.

Quantised are the convolutions that see whole images (backbone, pyramid, shared layers of the proposal network or of
RetinaNet) and the hidden layers fc6 and fc7 of the box head. In float stay the last layers, which say what and where,
the mask and keypoint heads, and all that is no convolution.

B: images.    C: channels.    H, W: height and width of the batch.
"""

from __future__ import annotations

import logging
import os
import statistics
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maskrcnn_benchmark.build.data import build_transforms, image_format_of
from maskrcnn_benchmark.errors import ConfigError, ExportError, MissingExtraError
from maskrcnn_benchmark.export.onnx_export import quiet
from maskrcnn_benchmark.layers.pairing import pair_by_overlap
from maskrcnn_benchmark.modeling.detector.exported_detector import ExportedDetector
from maskrcnn_benchmark.modeling.detector.onnx_detector import OnnxDetector
from maskrcnn_benchmark.numerics import get_numerics
from maskrcnn_benchmark.predict.images import ImageSource, read_input
from maskrcnn_benchmark.predict.loading import LoadedModel
from maskrcnn_benchmark.structures.image_list import to_image_list
from maskrcnn_benchmark.structures.padded import PaddedDetections, Proposals
from maskrcnn_benchmark.utils.atomic import atomic_write

MAX_IMAGES = 32
# Where a quantised file says that it is one.
QUANTIZED_KEY = "maskrcnn_benchmark_quantized"
# Modules whose weights stay in float.
LAST_LAYERS = frozenset({"cls_logits", "bbox_pred", "cls_score", "mask_fcn_logits"})
_HIDDEN_LAYERS = frozenset({"fc6", "fc7"})
# Behind these operators there are regions, not whole images.
_SELECTIONS = frozenset({"TopK", "NonMaxSuppression"})


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What a quantised detector finds of what the float one finds.

    Attributes:
        images: how many were compared.
        detections: of the float detector.
        found: of those, with one of the other's of their own, of the same label and at least the IoU `iou`.
        scores: mean difference of their probabilities.
        iou: least overlap.
    """

    images: int
    detections: int
    found: int
    scores: float
    iou: float


def check_int8(*, format: str, input_kind: str) -> None:
    """Raise if a model cannot be quantised in this form, or here.

    Raises:
        ConfigError: for another format than onnx.
        ExportError: where the graph resizes.
        MissingExtraError: without ONNX Runtime's quantisation.
    """
    if format != "onnx":
        raise ConfigError(f"--int8 is for the format onnx, got {format}. Leave out one of the two")
    if input_kind == "image":
        raise ExportError(
            "--int8 is not for --input image: calibration sees the images that the test's transforms have resized. "
            "Choose --input pixels"
        )
    try:
        import onnxruntime.quantization  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "onnxruntime", extra="onnx", purpose="quantisation to int8"
        ) from error


def quantize(
    model: LoadedModel,
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    images: Sequence[ImageSource],
) -> Path:
    """Write an exported file again, with convolutions in int8.

    Weights have 7 of the 8 bits, one scale per output channel: with all 8, x86 processors without VNNI overflow.
    Activations are uint8, between the least and the largest value in the images.

    Args:
        model: the file was made from.
        source: the `.onnx` file in float.
        path: of the new one; written whole or not at all. Its folder is made if it is not there.
        images: to calibrate with, as `predict.images.read_input` takes them; the first `MAX_IMAGES` are used.

    Raises:
        ConfigError: without images.
        DatasetError: if an image cannot be read.
        ExportError: if the graph cannot be quantised.
    """
    if not images:
        raise ConfigError("int8 needs at least one image to calibrate with, got none")
    import onnx

    path = Path(path)
    graph = onnx.load(os.fspath(source))
    names, types = find_layers(graph)
    # All images are read, and mistakes reported, before anything is calibrated.
    reader = _Reader(model, OnnxDetector(source), images[:MAX_IMAGES])
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "int8.onnx"
        try:
            _calibrate(graph, draft, reader, names=names, types=types)
        except Exception as error:  # ONNX Runtime has many kinds of errors, none of them public.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ExportError(
                f"ONNX Runtime cannot quantise this graph: {reason}. Leave out --int8"
            ) from error
        result = onnx.load(os.fspath(draft))
    _keep_metadata(graph, result)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, "wb") as file:
        file.write(result.SerializeToString())
    return path


def find_layers(model: Any) -> tuple[list[str], list[str]]:
    """Which nodes of a graph are quantised.

    Args:
        model: `onnx.ModelProto`.

    Returns:
        Names of the nodes, and the kinds of operators among them.

    Raises:
        ExportError: if the last layers, which must not be among them, cannot be told from the others.
    """
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    behind: set[str] = set()  # Values that come from a selection of regions.
    chosen: dict[str, str] = {}
    results: set[str] = set()  # Values of the chosen layers.
    last = 0
    for node in graph.node:
        is_behind = node.op_type in _SELECTIONS or bool(behind.intersection(node.input))
        if is_behind:
            behind.update(node.output)
        if node.op_type == "Relu" and node.input[0] in results:
            # Not quantised, but joined with the layer before it.
            chosen[node.name] = node.op_type
        if node.op_type not in ("Conv", "Gemm", "MatMul") or node.input[1] not in constants:
            continue
        module = node.input[1].rpartition(".")[0].rpartition(".")[2]
        if module in LAST_LAYERS:
            last += 1
        elif (node.op_type == "Conv" and not is_behind) or module in _HIDDEN_LAYERS:
            chosen[node.name] = node.op_type
            results.update(node.output)
    if not chosen or not last:
        raise ExportError(
            f"int8: among the layers of the graph none is named {', '.join(sorted(LAST_LAYERS))}, which stay in "
            "float, or there is no convolution. Leave out --int8"
        )
    return list(chosen), sorted(set(chosen.values()))


def agreement(
    model: LoadedModel,
    expected: ExportedDetector,
    found: ExportedDetector,
    images: Sequence[ImageSource],
    *,
    iou: float = 0.7,
) -> Agreement:
    """Compare two exported detectors, each image alone.

    Args:
        model: they were made from.
        expected: in float.
        found: quantised.
        images: see `predict.images.read_input`.
        iou: least overlap of two boxes that are the same.
    """
    offset = get_numerics(model.cfg.MODEL.NUMERICS).box_offset
    total = 0
    apart: list[float] = []
    for source in images:
        batch, sizes = _batch(model, expected, source)
        boxes, labels, scores = _rows(expected.detect(batch, sizes))
        boxes2, labels2, scores2 = _rows(found.detect(batch, sizes))
        total += len(boxes)
        pairs = pair_by_overlap(boxes, labels, boxes2, labels2, min_iou=iou, offset=offset)
        apart += [abs(float(scores[one]) - float(scores2[two])) for one, two in pairs]
    mean = statistics.fmean(apart) if apart else 0.0
    return Agreement(images=len(images), detections=total, found=len(apart), scores=mean, iou=iou)


def _rows(found: PaddedDetections | Proposals) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, labels and scores of the real detections of the one image in a batch; proposals are all of one label."""
    valid, boxes = found.valid[0], found.boxes[0]
    if isinstance(found, Proposals):
        scores, labels = found.objectness[0], torch.zeros_like(valid, dtype=torch.int64)
    else:
        scores, labels = found.scores[0], found.labels[0]
    return boxes[valid], labels[valid], scores[valid]


def _batch(
    model: LoadedModel, detector: ExportedDetector, source: ImageSource
) -> tuple[Tensor, Tensor]:
    """An image as the network sees it, (1, C, H, W), and its size (1, 2)."""
    image = read_input(source, image_format_of(model.cfg))
    tensor = build_transforms(model.cfg, is_train=False)(image)
    batch = detector.to_batch(to_image_list([tensor], model.cfg.DATALOADER.SIZE_DIVISIBILITY))
    return batch.tensors, torch.tensor(batch.image_sizes, dtype=torch.float32)


class _Reader:
    """Gives the images one by one, as ONNX Runtime's `CalibrationDataReader`."""

    def __init__(
        self, model: LoadedModel, detector: ExportedDetector, images: Sequence[ImageSource]
    ) -> None:
        for source in images:
            read_input(source, image_format_of(model.cfg))
        self.batches = (
            {
                name: value.contiguous().numpy()
                for name, value in detector.to_inputs(*_batch(model, detector, source)).items()
            }
            for source in images
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self.batches, None)


def _calibrate(
    graph: Any, path: Path, reader: _Reader, *, names: list[str], types: list[str]
) -> None:
    from onnxruntime import quantization

    # What the interface asks for is the one method.
    quantization.CalibrationDataReader.register(_Reader)
    with quiet(), _without_advice():
        quantization.quantize_static(
            graph,
            path,
            reader,
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=types,
            nodes_to_quantize=names,
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )


@contextmanager
def _without_advice() -> Iterator[None]:
    """Without ONNX Runtime's remarks, which go to the root logger."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(before)


def _keep_metadata(source: Any, result: Any) -> None:
    """What the file says about itself, and that it is quantised."""
    texts = {entry.key: entry.value for entry in source.metadata_props}
    texts |= {entry.key: entry.value for entry in result.metadata_props}
    texts[QUANTIZED_KEY] = "int8"
    result.ClearField("metadata_props")
    for key, value in texts.items():
        result.metadata_props.add(key=key, value=value)
