"""An exported detector in ONNX Runtime, in the place of a network.

B: images.    H, W: height and width of the padded batch.    D: detections of each image, padded.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskrcnn_benchmark.errors import CheckpointError, MissingExtraError, ShapeError
from maskrcnn_benchmark.modeling.detector.detector import Detector
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.padded import PaddedDetections, PaddedTargets, Proposals

_PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


class OnnxDetector(Detector):
    """What `maskrcnn export` wrote, with the same call as the network it was made from; inference only.

    Attributes:
        metadata: what the file says about itself, text by key.
        output_names: of the graph.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        device: str = "cpu",
        threads: int = 0,
        size_divisible: int = 32,
    ) -> None:
        """Open a file.

        Args:
            path: of the `.onnx` file.
            device: cpu, or cuda where ONNX Runtime was installed with it.
            threads: of one operator; 0 for ONNX Runtime's own choice.
            size_divisible: height and width of a batch are padded to a multiple of it.

        Raises:
            MissingExtraError: without ONNX Runtime.
            CheckpointError: if the file cannot be read, or is no detector.
        """
        super().__init__(backbone=None, size_divisible=size_divisible)
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError(
                "onnxruntime", extra="onnx", purpose="a detector in ONNX"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        kind = device.partition(":")[0]
        wanted = _PROVIDERS.get(kind, _PROVIDERS["cpu"])
        if wanted not in onnxruntime.get_available_providers():
            raise CheckpointError(
                f"{path}: this ONNX Runtime has no {wanted}, only "
                f"{', '.join(onnxruntime.get_available_providers())}. Choose the device cpu"
            )
        if not Path(path).is_file():
            raise CheckpointError(f"{path}: there is no such file")
        try:
            self.session: Any = onnxruntime.InferenceSession(
                os.fspath(path), options, providers=[wanted, _PROVIDERS["cpu"]][: 1 + (kind == "cuda")]
            )
        except Exception as error:  # ONNX Runtime has many kinds of errors, none of them public.
            raise CheckpointError(
                f"{path} cannot be run by ONNX Runtime: {str(error).strip().splitlines()[0]}. "
                "Is it a whole .onnx file? Write it again with `maskrcnn export`"
            ) from error
        self.metadata: dict[str, str] = dict(self.session.get_modelmeta().custom_metadata_map)
        self.output_names = [output.name for output in self.session.get_outputs()]
        self._inputs = {value.name: value for value in self.session.get_inputs()}
        if not {"images", "image_sizes"} <= self._inputs.keys() or "boxes" not in self.output_names:
            raise CheckpointError(
                f"{path}: its inputs are {', '.join(self._inputs)} and its outputs {', '.join(self.output_names)}; "
                "expected images and image_sizes, boxes and others, as `maskrcnn export` writes them"
            )
        self.training = False

    @property
    def with_masks(self) -> bool:
        """Whether the model segments."""
        return "masks" in self.output_names

    @property
    def with_keypoints(self) -> bool:
        """Whether the model finds keypoints."""
        return "keypoints" in self.output_names

    def train(self, mode: bool = True) -> OnnxDetector:
        """Stay in evaluation mode: an exported detector cannot train."""
        return self

    def forward(self, images: Any, targets: Sequence[BoxList] | None = None) -> Any:
        """One BoxList per image; see `Detector.forward`."""
        device = images.tensors.device if hasattr(images, "tensors") else None
        found = super().forward(images, None)
        return [boxlist.to(device) for boxlist in found] if device is not None else found  # type: ignore[union-attr]

    def detect(self, images: Tensor, image_sizes: Tensor) -> PaddedDetections | Proposals:
        """A padded batch to padded detections, on the CPU; see `Detector.detect`."""
        feeds = {
            "images": np.ascontiguousarray(images.detach().cpu().float().numpy()),
            "image_sizes": image_sizes.detach().cpu().float().numpy(),
        }
        values = [torch.from_numpy(value) for value in self.session.run(None, feeds)]
        return read_outputs(self.output_names, values)

    def compute_losses(
        self, images: Tensor, image_sizes: Tensor, targets: PaddedTargets
    ) -> dict[str, Tensor]:
        """Raise: an exported detector has no losses."""
        raise ShapeError("An exported detector cannot train; load the checkpoint it was made from.")


def read_outputs(names: Sequence[str], values: Sequence[Tensor]) -> PaddedDetections | Proposals:
    """The outputs of an exported graph as what the network in PyTorch gives.

    Args:
        names: of the outputs.
        values: one for each name.
    """
    found = dict(zip(names, values, strict=True))
    boxes, count = found["boxes"], found["num_detections"]
    valid = torch.arange(boxes.shape[1])[None] < count[:, None]
    if "labels" not in found:
        return Proposals(boxes, found["scores"], valid)
    keypoints = found.get("keypoints")
    scores = None
    if keypoints is not None:
        scores = keypoints[..., 2]
        keypoints = torch.cat((keypoints[..., :2], torch.ones_like(keypoints[..., :1])), dim=-1)
    return PaddedDetections(
        boxes=boxes,
        scores=found["scores"],
        labels=found["labels"],
        valid=valid,
        masks=found.get("masks"),
        keypoints=keypoints,
        keypoint_scores=scores,
    )
