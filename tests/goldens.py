"""Golden cases: the old project's numbers for a thin model on two images, and ours beside them.

A case is a folder with `case.json` (config file and overrides), `keys.json` (parameter names and shapes),
`weights.npz`, `image0.png`, `image1.png`, `targets.json`, and what was recorded: `inference.npz`, `train.json`,
`train.npz`. In `inference.npz` the prefixes `im0`, `im1` are each image alone, `b0`, `b1` both in one padded batch.

N: boxes of an image.    M: side of a mask.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from maskrcnn_benchmark.build.data import build_transforms
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.modeling.detector import GeneralizedRCNN
from maskrcnn_benchmark.modeling.poolers import Rows
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList, to_image_list
from maskrcnn_benchmark.structures.keypoint import PersonKeypoints
from maskrcnn_benchmark.structures.padded import PaddedDetections, Proposals
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

# Each image alone, and both in one batch: prefix -> number of the image.
RUNS = {"im0": 0, "im1": 1, "b0": 0, "b1": 1}


@dataclass
class Inference:
    """One forward pass in eval mode.

    Attributes:
        boxlists: what the model returned.
        features: maps of the backbone.
        proposals: what entered the heads.
    """

    boxlists: list[BoxList]
    features: list[Tensor]
    proposals: Proposals


@dataclass
class GoldenCase:
    """A case, and our model with its weights."""

    folder: Path
    configs: Path
    _runs: dict[str, Inference] = field(default_factory=dict)

    def read_json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    @cached_property
    def recorded(self) -> dict[str, Tensor]:
        """`inference.npz`."""
        with np.load(self.folder / "inference.npz") as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays}

    @cached_property
    def cfg(self) -> Config:
        case = self.read_json("case.json")
        cfg = get_defaults()
        cfg.merge_from_file(str(self.configs / case["config"]))
        cfg.merge_from_list(case["overrides"])
        return cfg

    @cached_property
    def model(self) -> GeneralizedRCNN:
        model = build_model(self.cfg)
        with np.load(self.folder / "weights.npz") as arrays:
            weights = {name: torch.from_numpy(arrays[name]) for name in arrays}
        model.load_state_dict(weights, strict=True)
        return model.eval()

    @cached_property
    def originals(self) -> list[Image.Image]:
        return [Image.open(self.folder / f"image{i}.png").convert("RGB") for i in range(2)]

    @cached_property
    def samples(self) -> list[tuple[Tensor, BoxList]]:
        """Image (3, h, w) and target, through the test transform."""
        transform = build_transforms(self.cfg, is_train=False)
        samples = []
        for image, entry in zip(self.originals, self.read_json("targets.json"), strict=True):
            target = BoxList(entry["boxes"], image.size)
            target.add_field("labels", torch.tensor(entry["labels"]))
            target.add_field("masks", SegmentationMask(entry["polygons"], image.size))
            if "keypoints" in entry:
                target.add_field("keypoints", PersonKeypoints(entry["keypoints"], image.size))
            samples.append(transform(image, target))
        return samples

    def batch(self, *images: int) -> ImageList:
        """Some of the images, padded as the loader does."""
        return to_image_list(
            [self.samples[i][0] for i in images], self.cfg.DATALOADER.SIZE_DIVISIBILITY
        )

    def infer(self, run: str) -> Inference:
        """The forward pass of `im0`, `im1` or `b`, once."""
        if run not in self._runs:
            images = {"im0": (0,), "im1": (1,), "b": (0, 1)}[run]
            self._runs[run] = record(self.model, self.batch(*images))
        return self._runs[run]

    def predict(self, run: str, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, C) and deltas (N, 4 * C) of the box head for regions (N, 4) of an image."""
        assert self.model.roi_heads is not None
        head = self.model.roi_heads.box
        rows = Rows.of(torch.ones(1, len(boxes), dtype=torch.bool))
        with torch.inference_mode():
            features = head.feature_extractor(self.infer(run).features, boxes[None], rows)
            logits, deltas = head.predictor(features)
        return logits, deltas

    def find_keypoints(self, run: str) -> tuple[Tensor, Tensor]:
        """Keypoints (N, K, 3) and logits (N, K) in the detections that were recorded for an image."""
        assert self.model.roi_heads is not None
        assert self.model.roi_heads.keypoint is not None
        recorded = (self.recorded[f"{run}_{name}"][None] for name in ("boxes", "scores", "labels"))
        boxes, scores, labels = recorded
        detections = PaddedDetections(boxes, scores, labels, torch.ones_like(scores).bool())
        with torch.inference_mode():
            keypoints, logits = self.model.roi_heads.keypoint(self.infer(run).features, detections)
        return keypoints[0], logits[0]

    def boxlist(self, prefix: str) -> BoxList:
        """Our detections for one of RUNS."""
        if prefix.startswith("b"):
            return self.infer("b").boxlists[RUNS[prefix]]
        return self.infer(prefix).boxlists[0]


def record(model: GeneralizedRCNN, images: ImageList) -> Inference:
    """Run the model and keep what passes between its parts."""
    seen: dict[str, Any] = {}
    hooks = [
        model.backbone.register_forward_hook(lambda m, i, out: seen.update(features=out)),
        model.rpn.register_forward_hook(lambda m, i, out: seen.update(proposals=out)),
    ]
    with torch.inference_mode():
        boxlists = model(images)
    for hook in hooks:
        hook.remove()
    return Inference(boxlists, seen["features"], seen["proposals"])


def pair_by_place(
    boxes: Tensor,
    golden_boxes: Tensor,
    *,
    labels: Tensor | None = None,
    golden_labels: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """For each golden box the nearest of ours with its label, each of ours at most once.

    Returns:
        Indices into ours and into the golden ones, and the largest difference of a corner, each (pairs,).
    """
    distance = (golden_boxes[:, None] - boxes[None]).abs().amax(dim=2)  # (golden, ours)
    if labels is not None and golden_labels is not None:
        distance[golden_labels[:, None] != labels[None]] = torch.inf
    ours, golden, apart = [], [], []
    for _ in range(min(distance.shape)):
        place = int(distance.argmin())
        row, column = divmod(place, distance.shape[1])
        if not distance[row, column].isfinite():
            break
        apart.append(float(distance[row, column]))
        golden.append(row)
        ours.append(column)
        distance[row] = torch.inf
        distance[:, column] = torch.inf
    return torch.tensor(ours).long(), torch.tensor(golden).long(), torch.tensor(apart)


def unpack_masks(packed: Tensor, shape: Tensor) -> Tensor:
    """Pasted masks (N, H, W) bool from the recorded bits."""
    size = shape.tolist()
    bits = np.unpackbits(packed.numpy())[: int(np.prod(size))]
    return torch.from_numpy(bits).view(size)[:, 0].bool()
