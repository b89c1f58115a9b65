"""A detector that was exported, in the place of a network.

B: images.    H, W: height and width of the padded batch.    D: detections of each image, padded.
"""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from maskrcnn_benchmark.errors import CheckpointError, ShapeError
from maskrcnn_benchmark.modeling.backbone.backbone import Backbone
from maskrcnn_benchmark.modeling.detector.detector import Detector
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList
from maskrcnn_benchmark.structures.padded import PaddedDetections, PaddedTargets, Proposals

# tensor: what the network sees, (B, C, H, W) float32, normalised, padded with zeros;
# pixels: the same in RGB 0-255: normalisation is part of the graph;
# image: (B, H, W, 3) uint8 RGB of any size: resizing is part of the graph as well, and boxes are in its pixels.
InputKind = Literal["tensor", "pixels", "image"]

# Where an exported file keeps `GraphInput`, as JSON.
INPUT_KEY = "maskrcnn_benchmark_input"


@dataclass(frozen=True, kw_only=True)
class GraphInput:
    """What an exported graph takes.

    Attributes:
        kind: see `InputKind`.
        size_divisible: height and width of a batch are multiples of it; not for images.
        mean: that is subtracted from each channel of pixels, in the network's order and range.
        std: that each channel is divided by.
        to_bgr255: whether the network sees BGR 0-255, else RGB 0-1.
    """

    kind: InputKind = "tensor"
    size_divisible: int = 32
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    to_bgr255: bool = True

    def to_metadata(self) -> dict[str, str]:
        """Text by key."""
        return {INPUT_KEY: json.dumps(asdict(self))}

    @classmethod
    def from_metadata(
        cls, metadata: Mapping[str, str], *, source: str | os.PathLike[str] = "the file"
    ) -> GraphInput:
        """Read what `to_metadata` wrote; the defaults where there is nothing.

        Args:
            metadata: text by key.
            source: where it is from, for the message.

        Raises:
            CheckpointError: if it cannot be read.
        """
        try:
            content = json.loads(metadata.get(INPUT_KEY, "{}"))
            known = {field.name for field in fields(cls)}
            found = cls(**{key: value for key, value in content.items() if key in known})
            # A newer version may know others, whose images would be prepared wrongly here.
            if found.kind not in get_args(InputKind):
                raise ValueError(f"it takes {found.kind!r}, not {', '.join(get_args(InputKind))}")
            return found
        except (ValueError, AttributeError, TypeError) as error:
            raise CheckpointError(
                f"what {source} says about its input cannot be read: {error}. Write it again with `maskrcnn export`"
            ) from error


class ExportedDetector(Detector):
    """What `maskrcnn export` wrote, with the same call as the network it was made from; inference only.

    A subclass runs it.

    Attributes:
        metadata: what the file says about itself, text by key.
        graph_input: what its graph takes. The call takes what the network took, whatever that is, but for images: those
            are RGB 0-255, not resized.
        output_names: of the graph.
    """

    def __init__(
        self,
        *,
        metadata: Mapping[str, str],
        output_names: Sequence[str],
        source: str | os.PathLike[str] = "the file",
    ) -> None:
        """Keep what the file says.

        Args:
            metadata: see the class.
            output_names: see the class.
            source: name of the file, for messages.

        Raises:
            CheckpointError: if that cannot be read, or it is no detector.
        """
        graph_input = GraphInput.from_metadata(metadata, source=source)
        divisor = 0 if graph_input.kind == "image" else graph_input.size_divisible
        # There is no network to look into: all of it is in the file.
        nothing = Backbone(body=torch.nn.Identity(), out_channels=0, strides=())
        super().__init__(backbone=nothing, size_divisible=divisor)
        self.metadata = dict(metadata)
        self.graph_input = graph_input
        self.output_names = list(output_names)
        if not {"boxes", "num_detections"} <= set(self.output_names):
            raise CheckpointError(
                f"the outputs of {source} are {', '.join(self.output_names)}; expected boxes, num_detections and "
                "others, as `maskrcnn export` writes them"
            )
        self.training = False

    @abstractmethod
    def run(self, inputs: dict[str, Tensor]) -> Sequence[Tensor]:
        """The graph itself: inputs by name (`images`, and `image_sizes` but for images) to its outputs in order."""

    @property
    def with_masks(self) -> bool:
        """Whether the model segments."""
        return "masks" in self.output_names

    @property
    def with_keypoints(self) -> bool:
        """Whether the model finds keypoints."""
        return "keypoints" in self.output_names

    def train(self, mode: bool = True) -> ExportedDetector:
        """Stay in evaluation mode: an exported detector cannot train."""
        return self

    def forward(self, images: Any, targets: Sequence[BoxList] | None = None) -> Any:
        """One BoxList per image, on the CPU; see `Detector.forward`."""
        return super().forward(images.to("cpu") if isinstance(images, ImageList) else images, None)

    def detect(self, images: Tensor, image_sizes: Tensor) -> PaddedDetections | Proposals:
        """A padded batch to padded detections, on the CPU; see `Detector.detect`.

        Raises:
            ShapeError: for images of unlike sizes, where the graph resizes them.
        """
        return read_outputs(self.output_names, self.run(self.to_inputs(images, image_sizes)))

    def to_inputs(self, images: Tensor, image_sizes: Tensor) -> dict[str, Tensor]:
        """What the graph takes, by name, of a batch that the network takes; see `detect`."""
        images = images.detach().cpu().float()
        sizes = image_sizes.detach().cpu().float()
        inputs = {"images": images, "image_sizes": sizes}
        if self.graph_input.kind == "image":
            if not bool((sizes == torch.tensor(images.shape[-2:])).all()):
                raise ShapeError(
                    "this file resizes images itself and takes a batch of one size, got the sizes "
                    f"{sizes.int().tolist()}. Give them one at a time, or export with --input tensor"
                )
            pixels = images.round().clamp(0, 255).byte()
            inputs = {"images": pixels.permute(0, 2, 3, 1)}
        elif self.graph_input.kind == "pixels":
            inputs["images"] = self._to_pixels(images)
        return inputs

    def _to_pixels(self, images: Tensor) -> Tensor:
        """Undo the normalisation that the graph does."""
        mean, std = (
            torch.tensor(value)[:, None, None]
            for value in (self.graph_input.mean, self.graph_input.std)
        )
        images = images * std + mean
        return images.flip(1) if self.graph_input.to_bgr255 else images * 255

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
