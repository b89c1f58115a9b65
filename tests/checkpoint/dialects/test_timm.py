import pytest
import torch

from maskrcnn_benchmark.build.weight_settings import adapt_config
from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer
from maskrcnn_benchmark.checkpoint.opening import load, open_file
from tests.checkpoint.thin import config_of, model_of


def features_of(model):
    """The body as a feature extractor of timm: torchvision's names, no classifier."""
    start = "backbone.body."
    return {
        key.removeprefix(start).removeprefix("stem."): value
        for key, value in model.state_dict().items()
        if key.startswith(start)
    }


def test_a_resnet_of_features_becomes_the_body(tmp_path, repository):
    cfg = config_of(repository, "e2e_mask_rcnn_R_50_FPN_1x")
    source, model = model_of(cfg, 1), model_of(cfg, 2)
    torch.save(features_of(source), tmp_path / "resnet50.a1_in1k.pth")
    opened = open_file(tmp_path / "resnet50.a1_in1k.pth")
    assert opened.converted.dialect == "timm"
    assert not opened.converted.is_detector
    Checkpointer(model, save_to_disk=False).load_weights(opened)
    expected = source.state_dict()
    for key, value in model.state_dict().items():
        if not key.startswith("backbone.body."):
            continue
        # Frozen norms have no epsilon here.
        extra = 1e-5 if key.endswith("running_var") else 0.0
        torch.testing.assert_close(value, expected[key] + extra, atol=1e-7, rtol=0)
    adapted = adapt_config(cfg, opened.converted)
    assert adapted.INPUT.TO_BGR255 is False
    assert adapted.INPUT.PIXEL_STD == (0.229, 0.224, 0.225)
    assert adapted.MODEL.RESNETS.STRIDE_IN_1X1 is False


def test_other_bodies_keep_their_names(tmp_path):
    state = {
        "stem.0.weight": torch.ones(1),
        "stages.0.blocks.0.conv_dw.weight": torch.ones(1),
        "head.fc.weight": torch.ones(1),
    }
    torch.save(state, tmp_path / "convnext.pth")
    converted = load(tmp_path / "convnext.pth")
    assert converted.dialect == "timm"
    assert list(converted.weights) == list(state)[:2]
    assert converted.unused == ("head.fc.weight",)


@pytest.mark.parametrize(
    "names",
    [
        ("conv1.0.weight", "bn1.weight", "layer1.0.conv1.weight", "fc.weight"),  # resnet18d
        ("conv1.weight", "bn1.weight", "layer1.0.conv1.conv.weight", "fc.weight"),  # skresnet18
        ("stem.conv1.conv.weight", "stages.0.0.conv1_1x1.conv.weight"),  # seresnet33ts
        ("stem.conv.weight", "s1.b1.conv1.conv.weight", "head.fc.weight"),  # regnetx_002
    ],
)
def test_relatives_of_its_resnets_keep_their_names(tmp_path, names):
    torch.save({name: torch.ones(1) for name in names}, tmp_path / "a.pth")
    converted = load(tmp_path / "a.pth")
    assert converted.dialect == "timm"
    assert list(converted.weights) == [name for name in names if "fc." not in name]
    assert dict(converted.settings)["INPUT.TO_BGR255"] is False
