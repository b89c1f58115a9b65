from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models

from maskrcnn_benchmark.errors import ConfigError, MissingExtraError
from maskrcnn_benchmark.layers.norms import FrozenBatchNorm2d
from maskrcnn_benchmark.modeling.backbone.foreign import TorchvisionBody, make_timm_body


def make_timm(name: str, **arguments: Any) -> Any:
    pytest.importorskip("timm")
    return make_timm_body(name, **arguments)


# Name, and channels of the maps of stride 4, 8, 16 and 32.
TORCHVISION = {
    "resnet18": (64, 128, 256, 512),
    "mobilenet_v2": (24, 32, 96, 1280),
    "mobilenet_v3_small": (16, 24, 48, 576),
    "efficientnet_b0": (24, 40, 112, 1280),
    "convnext_tiny": (96, 192, 384, 768),
    "regnet_y_400mf": (48, 104, 208, 440),
    "swin_t": (96, 192, 384, 768),
    "densenet121": (256, 512, 1024, 1024),
    "shufflenet_v2_x0_5": (24, 48, 96, 1024),
    "googlenet": (192, 480, 832, 1024),
}
TIMM = {
    "resnet18": (64, 128, 256, 512),
    "convnext_atto": (40, 80, 160, 320),
    "mobilenetv3_small_050": (8, 16, 24, 288),
    "efficientnet_b0": (24, 40, 112, 320),
    "regnety_002": (24, 56, 152, 368),
    "swin_tiny_patch4_window7_224": (96, 192, 384, 768),
    "hrnet_w18_small": (128, 256, 512, 1024),
}
BODIES = [pytest.param(TorchvisionBody, name, c, id=name) for name, c in TORCHVISION.items()]
BODIES += [pytest.param(make_timm, name, c, id=f"timm-{name}") for name, c in TIMM.items()]


@pytest.mark.parametrize(("make", "name", "channels"), BODIES)
def test_maps(make: Callable[..., Any], name: str, channels: tuple[int, ...]) -> None:
    body = make(name, freeze_at=2).eval()
    assert body.strides == (4, 8, 16, 32)
    assert tuple(body.out_channels[stride] for stride in body.strides) == channels
    maps = body(torch.randn(2, 3, 64, 128))
    assert [tuple(each.shape) for each in maps] == [
        (2, count, 64 // stride, 128 // stride)
        for count, stride in zip(channels, body.strides, strict=True)
    ]
    # Something is frozen, and not everything.
    trained = [parameter.requires_grad for parameter in body.parameters()]
    assert 0 < sum(trained) < len(trained)


@pytest.mark.parametrize("norm", ["", "FrozenBN"])
@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "densenet121"])
def test_imagenet_weights_load_by_name(name: str, norm: str) -> None:
    whole = models.get_model(name, weights=None)
    for module in whole.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    body = TorchvisionBody(name, norm=norm, strides=None)
    result = body.load_state_dict(whole.state_dict(), strict=False)
    assert not result.missing_keys
    unused = {key.split(".")[0] for key in result.unexpected_keys if "num_batches" not in key}
    assert unused == {"fc" if name == "resnet18" else "classifier"}
    images = torch.randn(1, 3, 64, 64)
    found = body.eval()(images)[0]
    seen = {}
    last = whole.layer4 if name == "resnet18" else whole.features
    last.register_forward_hook(lambda _m, _i, output: seen.update(output=output))
    with torch.no_grad():
        whole.eval()(images)
    expected = seen["output"]
    if name == "densenet121":
        # Its own forward goes on in place.
        found = found.relu()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_timm_weights_load_by_name() -> None:
    timm = pytest.importorskip("timm")
    whole = timm.create_model("convnext_atto").eval()
    body = make_timm_body("convnext_atto").eval()
    result = body.load_state_dict(whole.state_dict(), strict=False)
    assert not result.missing_keys
    assert {key.split(".")[0] for key in result.unexpected_keys} == {"head"}
    images = torch.randn(1, 3, 64, 64)
    expected = whole.forward_intermediates(images, intermediates_only=True)
    for found, wanted in zip(body(images), expected, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("freeze_at", "frozen", "trained"),
    [
        (0, [], ["features.0", "features.1", "features.2"]),
        (1, ["features.0", "features.1"], ["features.2"]),
        (2, ["features.1", "features.2", "features.3"], ["features.4"]),
        (3, ["features.4", "features.6"], ["features.7"]),
    ],
)
def test_freezing_by_stage(freeze_at: int, frozen: list[str], trained: list[str]) -> None:
    body = TorchvisionBody("mobilenet_v2", freeze_at=freeze_at).train()
    for name in frozen:
        module = body.get_submodule(name)
        assert not any(parameter.requires_grad for parameter in module.parameters())
        assert not any(each.training for each in module.modules())
    for name in trained:
        module = body.get_submodule(name)
        assert all(parameter.requires_grad for parameter in module.parameters())
        assert all(each.training for each in module.modules())


@pytest.mark.parametrize("make", [TorchvisionBody, make_timm])
def test_statistics_of_a_frozen_stage_stay(make: Callable[..., Any]) -> None:
    body = make("resnet18", freeze_at=2).train()
    before = copy.deepcopy(body.state_dict())
    body(torch.randn(2, 3, 64, 64))
    changed = {
        key.split(".")[0]
        for key, value in body.state_dict().items()
        if not value.equal(before[key])
    }
    assert changed == {"layer2", "layer3", "layer4"}


@pytest.mark.parametrize("norm", ["", "FrozenBN"])
@pytest.mark.parametrize("name", ["convnext_atto", "regnety_002", "mobilenetv3_small_050"])
def test_freezing_stages_of_timm(name: str, norm: str) -> None:
    counts = []
    for freeze_at in range(6):
        if freeze_at == 5 and name == "convnext_atto":
            continue
        body = make_timm(name, freeze_at=freeze_at, norm=norm).train()
        counts.append(sum(not each.requires_grad for each in body.parameters()))
    assert counts[0] == 0
    assert counts == sorted(set(counts))


@pytest.mark.parametrize(
    ("make", "name"), [(TorchvisionBody, "mobilenet_v2"), (make_timm, "regnety_002")]
)
def test_frozen_norms_export_and_copy(make: Callable[..., Any], name: str) -> None:
    body = make(name, norm="FrozenBN").eval()
    assert any(isinstance(module, FrozenBatchNorm2d) for module in body.modules())
    images = torch.randn(1, 3, 64, 96)
    expected = body(images)
    for other in (copy.deepcopy(body), torch.export.export(body, (images,)).module()):
        for found, wanted in zip(other(images), expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [TorchvisionBody, make_timm])
def test_other_channels(make: Callable[..., Any]) -> None:
    body = make("resnet18", in_channels=5, strides=None).eval()
    assert [tuple(each.shape) for each in body(torch.randn(1, 5, 64, 64))] == [(1, 512, 2, 2)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5", "did you mean resnet50"),
        ("vit_b_16", "cannot be a backbone"),
        ("alexnet", "has no stride"),
    ],
)
def test_networks_of_torchvision_that_do_not_do(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TorchvisionBody(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("convnext_tin", "did you mean convnext_tiny"),
        ("vit_tiny_patch16_224", "cannot be a backbone"),
    ],
)
def test_networks_of_timm_that_do_not_do(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_timm(name)


def test_maps_that_are_not_there() -> None:
    with pytest.raises(ConfigError, match="needs maps of stride 64, but it has only"):
        TorchvisionBody("resnet18", strides=(64,))
    with pytest.raises(ConfigError, match="has 5 stages, got 7"):
        TorchvisionBody("resnet18", freeze_at=7)


def test_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"maskrcnn-benchmark\[timm\]"):
        make_timm_body("convnext_tiny")
