"""Every config of the old project: it builds, trains a step, detects, and calls its parameters what it called them.

Thin: the same layers with few channels, so that a hundred networks take seconds.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.build.config_files import list_configs
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import PersonKeypoints
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
# Names of all parameters and buffers that the old project's models had, numbers replaced by #.
OLD_NAMES = set(json.loads(Path(__file__).with_name("old_parameter_names.json").read_text()))
OLD = [
    name for name in list_configs() if not name.startswith(("quickstart", "mobilenet", "cascade"))
]
SIZE = (128, 96)  # width, height

# In the goldens only some of the towers' convolutions, deformable stages, ... occur; these are the others.
BEYOND_THE_GOLDENS = (
    # Xconv1fc: one convolution, norm, ReLU after the other.
    re.compile(r"roi_heads\.box\.feature_extractor\.(xconvs\.#\.(weight|bias)|fc#\.(weight|bias))"),
    # FBNet's last 1x1 convolution (*_HEAD_LAST_SCALE below 0).
    re.compile(r"roi_heads\.(box|mask)\.feature_extractor\.head\.last\.(conv|bn)\.\w+"),
)


def thin(name: str) -> Config:
    cfg = get_defaults()
    cfg.merge_from_file(CONFIGS / name)
    model = cfg.MODEL
    groups = model.RESNETS.NUM_GROUPS
    pairs: dict[str, Any] = {
        "MODEL.WEIGHT": "",
        "MODEL.DEVICE": "cpu",
        "MODEL.RESNETS.NUM_GROUPS": min(groups, 4),
        "MODEL.RESNETS.WIDTH_PER_GROUP": 2 if groups > 1 else 8,
        "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
        "MODEL.RESNETS.RES2_OUT_CHANNELS": 32,
        "MODEL.RPN.PRE_NMS_TOP_N_TRAIN": 100,
        "MODEL.RPN.PRE_NMS_TOP_N_TEST": 100,
        "MODEL.RPN.POST_NMS_TOP_N_TEST": 50,
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 32,
        "MODEL.ROI_HEADS.DETECTIONS_PER_IMG": 10,
        "TEST.DETECTIONS_PER_IMG": 10,
        "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM": 16,
        "MODEL.ROI_BOX_HEAD.CONV_HEAD_DIM": 8,
        "MODEL.ROI_KEYPOINT_HEAD.CONV_LAYERS": (8,) * 8,
        "MODEL.FBNET.SCALE_FACTOR": 0.25,
        "MODEL.FBNET.WIDTH_DIVISOR": 8,
        "MODEL.RETINANET.INFERENCE_TH": 0.0,
        "MODEL.ROI_HEADS.SCORE_THRESH": 0.0,
        "MODEL.GROUP_NORM.NUM_GROUPS": 4,
    }
    if model.BACKBONE.CONV_BODY != "FBNet":
        fpn = "FPN" in model.BACKBONE.CONV_BODY
        pairs["MODEL.RESNETS.BACKBONE_OUT_CHANNELS"] = 16 if fpn else 128
        pairs["MODEL.ROI_MASK_HEAD.CONV_LAYERS"] = (8, 8, 8, 8)
    cfg.merge_from_list([word for pair in pairs.items() for word in pair])
    return cfg


def make_target(cfg: Config) -> BoxList:
    boxes = torch.tensor([[10.0, 10.0, 60.0, 70.0], [50.0, 20.0, 120.0, 90.0]])
    target = BoxList(boxes, SIZE)
    target.add_field("labels", torch.tensor([1, 1]))
    corners = [[x1, y1, x2, y1, x2, y2, x1, y2] for x1, y1, x2, y2 in boxes.tolist()]
    target.add_field("masks", SegmentationMask([[corner] for corner in corners], SIZE))
    points = torch.rand(2, 17, 2) * (boxes[:, None, 2:] - boxes[:, None, :2]) + boxes[:, None, :2]
    visible = torch.full((2, 17, 1), 2.0)
    target.add_field("keypoints", PersonKeypoints(torch.cat((points, visible), dim=2), SIZE))
    return target


def expected_losses(cfg: Config) -> set[str]:
    model = cfg.MODEL
    if model.RETINANET_ON:
        return {"loss_retina_cls", "loss_retina_reg"}
    names = {"loss_objectness", "loss_rpn_box_reg"}
    if not model.RPN_ONLY:
        names |= {"loss_classifier", "loss_box_reg"}
        names |= {"loss_mask"} if model.MASK_ON else set()
        names |= {"loss_kp"} if model.KEYPOINT_ON else set()
    return names


def test_there_are_all_of_them() -> None:
    assert len(OLD) == 66


@pytest.mark.parametrize("name", OLD)
def test_it_builds_trains_and_detects(name: str) -> None:
    torch.manual_seed(0)
    cfg = thin(name)
    model = build_model(cfg)
    images = [torch.randn(3, SIZE[1], SIZE[0]) * 50 for _ in range(2)]
    losses: dict[str, Tensor] = model.train()(images, [make_target(cfg), make_target(cfg)])
    assert set(losses) == expected_losses(cfg)
    total = sum(losses.values(), torch.zeros(()))
    assert math.isfinite(float(total.detach()))
    total.backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in trained)
    assert (
        sum(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in trained) > len(trained) / 2
    )

    with torch.no_grad():
        found: list[BoxList] = model.eval()(images)
    assert len(found) == 2
    for boxlist in found:
        fields = (
            {"objectness"}
            if cfg.MODEL.RPN_ONLY and not cfg.MODEL.RETINANET_ON
            else {
                "scores",
                "labels",
            }
        )
        fields |= {"mask"} if cfg.MODEL.MASK_ON and not cfg.MODEL.RPN_ONLY else set()
        fields |= {"keypoints"} if cfg.MODEL.KEYPOINT_ON else set()
        assert set(boxlist.fields()) == fields
        assert boxlist.size == SIZE
        assert bool(boxlist.bbox.isfinite().all())


@pytest.mark.parametrize("name", OLD)
def test_its_parameters_have_their_old_names(name: str) -> None:
    with torch.device("meta"):
        state = build_model(thin(name)).state_dict()
    patterns = {re.sub(r"\d+", "#", key) for key in state}
    unknown = {
        pattern
        for pattern in patterns - OLD_NAMES
        if not any(rule.fullmatch(pattern) for rule in BEYOND_THE_GOLDENS)
    }
    assert not unknown
