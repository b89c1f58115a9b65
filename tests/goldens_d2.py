"""Golden cases of detectron2: as `tests.goldens`, but weights come through the dialect and keys are translated."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from maskrcnn_benchmark.build.data import build_transforms
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.checkpoint.dialects import detectron2
from maskrcnn_benchmark.checkpoint.dialects.base import Converted
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import PersonKeypoints
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from tests.goldens import GoldenCase

# What the recording changed and weights cannot show: its key -> ours.
KEYS = {
    "INPUT.MIN_SIZE_TEST": "INPUT.MIN_SIZE_TEST",
    "INPUT.MAX_SIZE_TEST": "INPUT.MAX_SIZE_TEST",
    "MODEL.RPN.PRE_NMS_TOPK_TEST": "MODEL.RPN.PRE_NMS_TOP_N_TEST",
    "MODEL.RPN.POST_NMS_TOPK_TEST": "MODEL.RPN.POST_NMS_TOP_N_TEST",
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": "MODEL.RPN.PRE_NMS_TOP_N_TRAIN",
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": "MODEL.RPN.POST_NMS_TOP_N_TRAIN",
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": "MODEL.RPN.BATCH_SIZE_PER_IMAGE",
    "MODEL.RPN.POSITIVE_FRACTION": "MODEL.RPN.POSITIVE_FRACTION",
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE",
    "MODEL.ROI_HEADS.POSITIVE_FRACTION": "MODEL.ROI_HEADS.POSITIVE_FRACTION",
    "TEST.DETECTIONS_PER_IMAGE": "MODEL.ROI_HEADS.DETECTIONS_PER_IMG",
}

HALF = torch.tensor([0.5, 0.5, 0.0])
FAR = torch.tensor([0.0, 0.0, 1.0, 1.0])


class Detectron2Case(GoldenCase):
    """A case, and our model with its weights converted."""

    @cached_property
    def theirs(self) -> dict[str, Any]:
        """Its whole configuration."""
        config: dict[str, Any] = yaml.safe_load((self.folder / "config.yaml").read_text())
        return config

    @cached_property
    def converted(self) -> Converted:
        with np.load(self.folder / "weights.npz") as arrays:
            return detectron2.convert({name: torch.from_numpy(arrays[name]) for name in arrays})

    @cached_property
    def cfg(self) -> Config:
        cfg = get_defaults()
        settings = [item for pair in self.converted.settings for item in pair]
        cfg.merge_from_list(settings)
        for theirs, ours in KEYS.items():
            value: Any = self.theirs
            for part in theirs.split("."):
                value = value[part]
            cfg.merge_from_list([ours, value])
        cfg.merge_from_list(["TEST.DETECTIONS_PER_IMG", cfg.MODEL.ROI_HEADS.DETECTIONS_PER_IMG])
        return cfg

    @cached_property
    def model(self) -> Any:
        model = build_model(self.cfg)
        own = model.state_dict()
        anchors = {name: value for name, value in own.items() if ".cell_anchors." in name}
        # Name by name, and nothing left over on either side but anchors.
        model.load_state_dict({**self.converted.weights, **anchors}, strict=True)
        return model.eval()

    @cached_property
    def samples(self) -> list[tuple[Tensor, BoxList]]:
        transform = build_transforms(self.cfg, is_train=False)
        samples = []
        for image, entry in zip(self.originals, self.read_json("targets.json"), strict=True):
            # Data sets have inclusive corners; the recorded ones are continuous.
            target = BoxList(torch.tensor(entry["boxes"]) - FAR, image.size)
            labels = torch.tensor(entry["labels"])
            if self.cfg.MODEL.KEYPOINT_ON:
                labels = torch.ones_like(labels)
                points = torch.tensor(entry["keypoints"]) - HALF
                target.add_field("keypoints", PersonKeypoints(points, image.size))
            target.add_field("labels", labels)
            target.add_field("masks", SegmentationMask(entry["polygons"], image.size))
            samples.append(transform(image, target))
        return samples

    def own_name(self, name: str) -> str:
        """Our name of one of its weights."""
        (own,) = detectron2.rename(name, self.read_json("keys.json"))
        return own
