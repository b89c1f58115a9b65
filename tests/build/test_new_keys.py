"""Keys below MODEL that the old project did not have: setting one changes the network, or is an error."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
C4 = "e2e_mask_rcnn_R_50_C4_1x"
FPN = "e2e_mask_rcnn_R_50_FPN_1x"
KEYPOINTS = "e2e_keypoint_rcnn_R_50_FPN_1x"
RPN = "rpn_R_50_FPN_1x"
RETINANET = "retinanet/retinanet_R-50-FPN_1x"
FBNET = "e2e_mask_rcnn_fbnet"
CASCADE = "cascade/cascade_mask_rcnn_R_50_FPN_1x"
MOBILENET = "mobilenet/mask_rcnn_mobilenet_v2_FPN"

NETWORK = [
    (FPN, "MODEL.NUMERICS", "detectron2"),
    (RETINANET, "MODEL.NUMERICS", "torchvision"),
    (FPN, "MODEL.RESNETS.NORM", "GN"),
    (MOBILENET, "MODEL.BACKBONE.NORM", "BN"),
    (FPN, "MODEL.BACKBONE.NORM", "BN"),
    (FBNET, "MODEL.BACKBONE.NORM", "BN"),
    (FPN, "MODEL.FPN.NORM", "BN"),
    (RETINANET, "MODEL.FPN.NORM", "BN"),
    (MOBILENET, "MODEL.FPN.NORM", "BN"),
    (FPN, "MODEL.ROI_BOX_HEAD.NORM", "BN"),
    (C4, "MODEL.ROI_BOX_HEAD.NORM", "BN"),
    (FBNET, "MODEL.ROI_BOX_HEAD.NORM", "BN"),
    (CASCADE, "MODEL.ROI_BOX_HEAD.NORM", "BN"),
    (FPN, "MODEL.ROI_MASK_HEAD.NORM", "BN"),
    (FBNET, "MODEL.ROI_MASK_HEAD.NORM", "BN"),
    (RPN, "MODEL.RPN.NUM_CONVS", 2),
    (FBNET, "MODEL.RPN.NUM_CONVS", 2),
    (FPN, "MODEL.RPN.LOSS_TYPE", "giou"),
    (FBNET, "MODEL.RPN.LOSS_TYPE", "diou"),
    (FPN, "MODEL.RPN.SMOOTH_L1_BETA", 0.5),
    (FPN, "MODEL.ROI_BOX_HEAD.LOSS_TYPE", "ciou"),
    (CASCADE, "MODEL.ROI_BOX_HEAD.LOSS_TYPE", "ciou"),
    (FPN, "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA", 0.5),
    (CASCADE, "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA", 0.5),
    (FPN, "MODEL.ROI_BOX_HEAD.POOLER_TYPE", "ROIPool"),
    (C4, "MODEL.ROI_BOX_HEAD.POOLER_TYPE", "ROIPool"),
    (FBNET, "MODEL.ROI_BOX_HEAD.POOLER_TYPE", "ROIPool"),
    (CASCADE, "MODEL.ROI_BOX_HEAD.POOLER_TYPE", "ROIPool"),
    (FPN, "MODEL.ROI_MASK_HEAD.POOLER_TYPE", "ROIPool"),
    (KEYPOINTS, "MODEL.ROI_KEYPOINT_HEAD.POOLER_TYPE", "ROIPool"),
    (FPN, "MODEL.ROI_HEADS.NMS_TYPE", "soft_linear"),
    (CASCADE, "MODEL.ROI_HEADS.NMS_TYPE", "soft_gaussian"),
    (RETINANET, "MODEL.ROI_HEADS.NMS_TYPE", "soft_linear"),
    (RPN, "MODEL.ROI_HEADS.NMS_TYPE", "soft_linear"),
    (FPN, "MODEL.ROI_HEADS.SOFT_NMS_SIGMA", 0.7),
    (FPN, "MODEL.CASCADE_ON", True),
    (RETINANET, "MODEL.CASCADE_ON", True),
    (RPN, "MODEL.CASCADE_ON", True),
    (CASCADE, "MODEL.ROI_CASCADE.FG_IOU_THRESHOLDS", (0.4, 0.5, 0.6)),
    (CASCADE, "MODEL.ROI_CASCADE.BBOX_REG_WEIGHTS", ((1.0, 1.0, 1.0, 1.0),) * 3),
    (RETINANET, "MODEL.RETINANET.BBOX_REG_WEIGHTS", (1.0, 1.0, 1.0, 1.0)),
    (RETINANET, "MODEL.RETINANET.LOSS_TYPE", "giou"),
]
SIMPLE = (bool, int, float, str, torch.device, torch.dtype, type(None))


def described(value: Any) -> Any:
    """A value as something to compare: modules and plain objects by what they are made of."""
    if isinstance(value, nn.Module):
        inside = {name: described(child) for name, child in value.named_children()}
        own = {name: tuple(p.shape) for name, p in value.named_parameters(recurse=False)}
        plain = {key: each for key, each in vars(value).items() if not key.startswith("_")}
        return type(value).__name__, inside, own, described(plain)
    if isinstance(value, SIMPLE):
        return value
    if isinstance(value, Mapping):
        return {key: described(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [described(each) for each in value]
    if isinstance(value, functools.partial):
        return described((value.func, value.args, value.keywords))
    if dataclasses.is_dataclass(value) or type(value).__module__.startswith("maskrcnn_benchmark"):
        return type(value).__name__, described(getattr(value, "__dict__", {}))
    return getattr(value, "__qualname__", type(value).__name__)


def load(file: str, *pairs: Any) -> Config:
    cfg = get_defaults()
    cfg.merge_from_file(str(CONFIGS / f"{file}.yaml"))
    cfg.merge_from_list(list(pairs))
    return cfg


@functools.cache
def network(file: str, *pairs: Any) -> Any:
    cfg = load(file, *pairs)
    cfg.validate_run(training=False)
    with torch.device("meta"):
        return described(build_model(cfg))


@pytest.mark.parametrize(("file", "key", "value"), NETWORK)
def test_a_key_changes_the_network_or_is_refused(file: str, key: str, value: Any) -> None:
    before = network(file)
    try:
        after, refusal = network(file, key, value), ""
    except ConfigError as error:
        after, refusal = before, str(error)
    assert after != before or key in refusal


def test_the_same_config_is_the_same_network() -> None:
    """Else the test above could not fail."""
    network.cache_clear()
    first = network(FPN)
    network.cache_clear()
    assert network(FPN) == first
    # An old key that is documented to do nothing.
    assert network(FPN, "MODEL.ROI_HEADS.USE_FPN", not load(FPN).MODEL.ROI_HEADS.USE_FPN) == first


def test_no_new_key_of_the_network_is_forgotten() -> None:
    """The keys below MODEL that the old defaults do not have are in the list above."""
    old = json.loads((Path(__file__).parents[1] / "config/legacy_defaults.json").read_text())
    missing = []
    for section, name in get_defaults().MODEL.walk():
        inside: Any = old
        for part in section.key(name).split(".")[:-1]:
            inside = inside.get(part, {})
        if name not in inside:
            missing.append(section.key(name))
    assert sorted({key for _, key, _ in NETWORK}) == sorted(missing)
