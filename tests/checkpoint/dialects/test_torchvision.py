"""Names, settings and refusals; that the numbers agree is shown in tests/modeling/test_torchvision_parity.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.models import detection as theirs
from torchvision.models import resnet18

from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer
from maskrcnn_benchmark.checkpoint.dialects import find_dialect
from maskrcnn_benchmark.checkpoint.dialects.base import Converted
from maskrcnn_benchmark.checkpoint.dialects.torchvision import convert, recognise
from maskrcnn_benchmark.checkpoint.matching import load_state_dict
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.errors import CheckpointError


def state_dict_of(name: str, num_classes: int = 4) -> dict[str, Tensor]:
    """Names and shapes of a detector; no memory for its weights."""
    with torch.device("meta"):
        model = getattr(theirs, name)(weights=None, weights_backbone=None, num_classes=num_classes)
    return model.state_dict()


def shapes_of(weights: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in weights.items()}


def to_old_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As torchvision wrote them before 0.13."""
    renamed = {}
    for name, value in weights.items():
        name = re.sub(r"(inner|layer)_blocks\.(\d)\.0\.", r"\1_blocks.\2.", name)
        name = re.sub(r"rpn\.head\.conv\.0\.0\.", "rpn.head.conv.", name)
        name = re.sub(
            r"mask_head\.(\d)\.0\.", lambda found: f"mask_head.mask_fcn{int(found[1]) + 1}.", name
        )
        name = re.sub(
            r"(_head\.conv)\.(\d)\.0\.", lambda found: f"{found[1]}.{2 * int(found[2])}.", name
        )
        renamed[name] = value
    return renamed


def assert_complete(converted: Converted) -> None:
    """Every weight of the model that the settings describe, in its shape, and nothing else."""
    cfg = get_defaults()
    for key, value in converted.settings:
        cfg.merge_from_list([key, value])
    expected = shapes_of(build_model(cfg).state_dict())
    found = shapes_of(converted.weights)
    derived = {name: shape for name, shape in expected.items() if "cell_anchors" in name}
    assert found | derived == expected


@pytest.mark.parametrize(
    "name",
    ["maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn", "retinanet_resnet50_fpn"],
)
def test_names_of_old_releases_mean_the_same(name: str) -> None:
    weights = state_dict_of(name)
    old = to_old_names(weights)
    assert old.keys() != weights.keys()
    assert recognise(shapes_of(old))
    # Frozen norms, as pre-trained files have them: nothing is counted.
    today = convert({n: v for n, v in weights.items() if "batches" not in n})
    before = convert({n: v for n, v in old.items() if "batches" not in n})
    assert before.settings == today.settings
    assert shapes_of(before.weights) == shapes_of(today.weights)
    assert not before.unused
    assert_complete(before)


def test_the_second_version_trains_its_norms() -> None:
    converted = convert(state_dict_of("maskrcnn_resnet50_fpn_v2"))
    settings = dict(converted.settings)
    assert settings["MODEL.RESNETS.NORM"] == settings["MODEL.FPN.NORM"] == "BN"
    assert settings["MODEL.RPN.NUM_CONVS"] == 2
    assert settings["MODEL.ROI_BOX_HEAD.NUM_STACKED_CONVS"] == 4
    assert_complete(converted)


def test_epsilon_goes_into_the_variance_where_norms_were_trained() -> None:
    name = "backbone.body.bn1.running_var"
    weights = {
        key: torch.zeros(value.shape)
        for key, value in state_dict_of("fasterrcnn_resnet50_fpn").items()
    }
    converted = convert(weights).weights["backbone.body.stem.bn1.running_var"]
    torch.testing.assert_close(converted, weights[name] + 1e-5)
    frozen = {key: value for key, value in weights.items() if "batches" not in key}
    kept = convert(frozen).weights["backbone.body.stem.bn1.running_var"]
    torch.testing.assert_close(kept, weights[name])


def test_retinanet_loses_the_logits_of_background() -> None:
    weights = {
        key: torch.zeros(value.shape)
        for key, value in state_dict_of("retinanet_resnet50_fpn").items()
    }
    # 9 anchors of 4 classes each.
    weights["head.classification_head.cls_logits.bias"] = torch.arange(36.0)
    converted = convert(weights)
    found = converted.weights["rpn.head.cls_logits.bias"]
    assert found[:6].tolist() == [1, 2, 3, 5, 6, 7]
    assert found.shape == (27,)
    assert dict(converted.settings)["MODEL.RETINANET.NUM_CLASSES"] == 4


@pytest.mark.parametrize("conv_body", ["R-18-FPN", "torchvision/resnet18-FPN"])
def test_weights_of_imagenet(conv_body: str, repository: Path) -> None:
    weights = resnet18(weights=None).state_dict()
    dialect = find_dialect(shapes_of(weights))
    assert dialect is not None
    converted = dialect.convert(weights)
    assert converted.dialect == "torchvision"
    assert not converted.is_detector
    assert {"fc.weight", "fc.bias"} < set(converted.unused)
    cfg = get_defaults()
    cfg.merge_from_file(repository / "configs/e2e_faster_rcnn_R_50_FPN_1x.yaml")
    norm = "MODEL.RESNETS.NORM" if conv_body.startswith("R-") else "MODEL.BACKBONE.NORM"
    cfg.merge_from_list(["MODEL.BACKBONE.CONV_BODY", conv_body, norm, "FrozenBN"])
    cfg.merge_from_list(["MODEL.RESNETS.RES2_OUT_CHANNELS", 64])
    model = build_model(cfg)
    match = load_state_dict(model, converted.weights)
    assert not [name for name in match.missing if name.startswith("backbone.body")]
    body = model.get_submodule("backbone.body")
    torch.testing.assert_close(
        body.get_parameter("layer3.1.conv2.weight"), weights["layer3.1.conv2.weight"]
    )
    stem = "stem.conv1.weight" if conv_body.startswith("R-") else "conv1.weight"
    torch.testing.assert_close(body.get_parameter(stem), weights["conv1.weight"])


@pytest.mark.parametrize("norm", ["FrozenBN", "BN"])
@pytest.mark.parametrize("conv_body", ["R-18-FPN", "torchvision/resnet18-FPN"])
def test_epsilon_counts_once(conv_body: str, norm: str, repository: Path, tmp_path: Path) -> None:
    """The body gives torchvision's features, with variances as small as epsilon."""
    original = resnet18(weights=None).double().eval()
    for module in original.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_var is not None
            module.running_var.uniform_(1e-6, 1e-4)
            torch.nn.init.uniform_(module.weight, 1e-4, 1e-3)
    torch.save(original.state_dict(), tmp_path / "resnet18.pth")
    cfg = get_defaults()
    cfg.merge_from_file(repository / "configs/e2e_faster_rcnn_R_50_FPN_1x.yaml")
    key = "MODEL.RESNETS.NORM" if conv_body.startswith("R-") else "MODEL.BACKBONE.NORM"
    cfg.merge_from_list(["MODEL.BACKBONE.CONV_BODY", conv_body, key, norm])
    cfg.merge_from_list(["MODEL.RESNETS.RES2_OUT_CHANNELS", 64])
    model = build_model(cfg).double().eval()
    Checkpointer(model, save_to_disk=False).load_weights(tmp_path / "resnet18.pth")
    images = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        *_, last = model.get_submodule("backbone.body")(images)
        for name, part in original.named_children():
            images = images if name in ("avgpool", "fc") else part(images)
    assert images.std() > 0
    torch.testing.assert_close(last, images, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fasterrcnn_mobilenet_v3_large_fpn", "body is not a ResNet"),
        ("retinanet_resnet50_fpn_v2", "group norms"),
    ],
)
def test_detectors_that_have_no_counterpart(name: str, message: str) -> None:
    weights = state_dict_of(name)
    assert recognise(shapes_of(weights))
    with pytest.raises(CheckpointError, match=message):
        convert(weights)


def test_only_torchvision_is_recognised() -> None:
    assert not recognise({"backbone.body.stem.conv1.weight": (64, 3, 7, 7)})
    assert not recognise({"backbone.bottom_up.stem.conv1.weight": (64, 3, 7, 7)})
    # detectron2 calls its box predictor alike.
    assert not recognise({"roi_heads.box_predictor.cls_score.weight": (81, 1024)})
