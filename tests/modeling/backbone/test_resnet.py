"""The ResNet body against torchvision's: names, shapes and features."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.resnet import ResNet as TorchvisionResNet

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.deform_conv import DeformConv, DFConv2d, ModulatedDeformConv
from maskrcnn_benchmark.layers.norms import FrozenBatchNorm2d
from maskrcnn_benchmark.modeling.backbone.resnet import ResNet, ResNetStages


def our_name(name: str) -> str:
    return f"stem.{name}" if name.startswith(("conv1.", "bn1.")) else name


def reference_state(model: nn.Module) -> dict[str, Tensor]:
    return {
        our_name(name): value
        for name, value in model.state_dict().items()
        if not name.startswith("fc.")
    }


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_names_and_shapes_are_torchvisions(depth: int) -> None:
    with torch.device("meta"):
        ours = ResNet(depth=depth, norm="BN", stem_norm="BN")
        reference = getattr(torchvision.models, f"resnet{depth}")()
    expected = {name: value.shape for name, value in reference_state(reference).items()}
    assert {name: value.shape for name, value in ours.state_dict().items()} == expected


def randomise(model: nn.Module) -> None:
    """Other statistics than 0 and 1, and activations that neither grow nor vanish."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.2, 0.6)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)


def reference_features(model: TorchvisionResNet, images: Tensor) -> list[Tensor]:
    x = model.maxpool(model.relu(model.bn1(model.conv1(images))))
    maps = []
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        x = stage(x)
        maps.append(x)
    return maps


@pytest.mark.parametrize(
    ("depth", "groups", "width"), [(18, 1, 64), (34, 1, 64), (50, 1, 8), (50, 4, 4)]
)
def test_features_are_torchvisions(depth: int, groups: int, width: int) -> None:
    block, counts = {
        18: (BasicBlock, [2, 2, 2, 2]),
        34: (BasicBlock, [3, 4, 6, 3]),
        50: (Bottleneck, [3, 4, 6, 3]),
    }[depth]
    reference = TorchvisionResNet(block, counts, groups=groups, width_per_group=width)
    randomise(reference)
    reference = reference.double().eval()
    ours = ResNet(
        depth=depth, groups=groups, width=width, norm="BN", stem_norm="BN", stride_in_1x1=False
    )
    ours = ours.double().eval()
    ours.load_state_dict(reference_state(reference), strict=True)
    images = torch.randn(2, 3, 65, 48, dtype=torch.float64)
    torch.testing.assert_close(ours(images), reference_features(reference, images))


def test_frozen_norms_compute_what_norms_in_eval_mode_do() -> None:
    options = {"depth": 50, "width": 4, "out_channels": 16, "stem_channels": 8}
    trained = ResNet(**options, norm="BN", stem_norm="BN")  # type: ignore[arg-type]
    randomise(trained)
    trained = trained.double().eval()
    frozen = ResNet(**options).double()  # type: ignore[arg-type]
    state = {
        name: value
        for name, value in trained.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    # The frozen norm has no epsilon: its variances hold it already.
    state = {k: v + 1e-5 if k.endswith("running_var") else v for k, v in state.items()}
    frozen.load_state_dict(state, strict=True)
    images = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(frozen(images), trained(images))


@pytest.mark.parametrize(
    ("in_1x1", "expected"), [(True, [(2, 2), (1, 1)]), (False, [(1, 1), (2, 2)])]
)
def test_where_the_stride_is(in_1x1: bool, expected: list[tuple[int, int]]) -> None:
    body = ResNet(width=4, out_channels=8, stem_channels=4, stride_in_1x1=in_1x1)
    for stage in (2, 3, 4):
        first = body.get_submodule(f"layer{stage}.0")
        strides = [first.get_submodule(name).stride for name in ("conv1", "conv2")]
        assert strides == expected
        assert first.get_submodule("downsample.0").stride == (2, 2)
        later = body.get_submodule(f"layer{stage}.1")
        assert later.get_submodule("conv1").stride == later.get_submodule("conv2").stride == (1, 1)
    maps = body(torch.randn(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [(8, 16, 24), (16, 8, 12), (32, 4, 6), (64, 2, 3)]


def test_a_c4_body_and_its_head_make_the_whole() -> None:
    options = {"depth": 50, "width": 4, "out_channels": 16}
    whole = ResNet(**options, stem_channels=8).double()  # type: ignore[arg-type]
    body = ResNet(**options, stem_channels=8, stages=(1, 2, 3), return_stages=(3,)).double()  # type: ignore[arg-type]
    head = ResNetStages(**options, stages=(4,), in_channels=body.out_channels[3]).double()  # type: ignore[arg-type]
    state = whole.state_dict()
    body.load_state_dict({k: v for k, v in state.items() if not k.startswith("layer4")})
    head.load_state_dict({k: v for k, v in state.items() if k.startswith("layer4")})
    images = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    (middle,) = body(images)
    torch.testing.assert_close(head(middle)[0], whole(images)[3])
    assert body.out_channels == {1: 16, 2: 32, 3: 64}
    assert head.out_channels == {4: 128}


def test_dilation_takes_the_stride_away() -> None:
    head = ResNetStages(stages=(4,), width=4, out_channels=8, in_channels=32, dilation=2)
    assert head(torch.randn(1, 32, 14, 14))[0].shape == (1, 64, 14, 14)
    head = ResNetStages(stages=(4,), width=4, out_channels=8, in_channels=32, first_stride=1)
    assert head(torch.randn(1, 32, 14, 14))[0].shape == (1, 64, 14, 14)


@pytest.mark.parametrize(
    ("freeze_at", "frozen"),
    [
        (0, set()),
        (1, {"stem"}),
        (2, {"stem", "layer1"}),
        (5, {"stem", "layer1", "layer2", "layer3", "layer4"}),
    ],
)
def test_freezing(freeze_at: int, frozen: set[str]) -> None:
    with torch.device("meta"):
        body = ResNet(freeze_at=freeze_at, norm="BN", stem_norm="BN")
    still = {name.split(".")[0] for name, p in body.named_parameters() if not p.requires_grad}
    moving = {name.split(".")[0] for name, p in body.named_parameters() if p.requires_grad}
    assert still == frozen
    assert not still & moving


@pytest.mark.parametrize(
    ("norm", "kind"),
    [
        ("FrozenBN", FrozenBatchNorm2d),
        ("BN", nn.BatchNorm2d),
        ("GN", nn.GroupNorm),
        ("SyncBN", nn.SyncBatchNorm),
    ],
)
def test_norms(norm: str, kind: type[nn.Module]) -> None:
    body = ResNet(
        depth=50,
        width=8,
        out_channels=32,
        stem_channels=8,
        norm=norm,  # type: ignore[arg-type]
        stem_norm="BN",
        norm_groups=4,
    )
    assert isinstance(body.stem.bn1, nn.BatchNorm2d)
    norms = [m for name, m in body.named_modules() if name.endswith((".bn1", ".bn3", ".1"))]
    found = [m for m in norms if isinstance(m, kind)]
    assert len(found) > 30
    if norm != "SyncBN":  # which needs a GPU in training mode
        assert body(torch.randn(2, 3, 64, 64))[-1].isfinite().all()


def test_convolutions_start_as_detectron_filled_them() -> None:
    weight = ResNet(depth=18).get_parameter("layer3.1.conv1.weight")
    bound = (3 / (256 * 9)) ** 0.5  # uniform with variance 1 / fan in
    assert weight.abs().max() <= bound
    assert weight.abs().max() > 0.999 * bound


def test_an_unknown_depth_is_named() -> None:
    with pytest.raises(ConfigError, match=r"18, 34, 50, 101, 152.*19"):
        ResNet(depth=19)


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("depth", [18, 50])
def test_deformable_stages(depth: int, modulated: bool) -> None:
    body = ResNet(
        depth=depth,
        width=8,
        out_channels=16,
        stem_channels=8,
        with_dcn=(False, False, True, True),
        modulated=modulated,
        deformable_groups=2,
    )
    deformable = {
        name.rpartition(".")[0] for name, m in body.named_modules() if isinstance(m, DFConv2d)
    }
    blocks = {
        f"layer{stage}.{name}"
        for stage in (3, 4)
        for name, _ in body.get_submodule(f"layer{stage}").named_children()
    }
    assert deformable == blocks
    first = body.get_submodule("layer3.0.conv2")
    assert isinstance(first, DFConv2d)
    assert isinstance(first.conv, ModulatedDeformConv if modulated else DeformConv)
    assert first.offset.out_channels == (54 if modulated else 36)
    assert {"layer3.0.conv2.offset.bias", "layer3.0.conv2.conv.weight"} < set(body.state_dict())
    maps = body(torch.randn(2, 3, 64, 96))
    assert [tuple(m.shape[2:]) for m in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    maps[-1].sum().backward()
    assert first.offset.weight.grad is not None
    assert first.offset.weight.grad.abs().sum() > 0


def test_a_deformable_stage_without_offsets_is_an_ordinary_one() -> None:
    options = {"depth": 50, "width": 4, "out_channels": 16, "stem_channels": 8, "groups": 2}
    plain = ResNet(**options).eval()  # type: ignore[arg-type]
    body = ResNet(**options, with_dcn=(True,) * 4, modulated=False).eval()  # type: ignore[arg-type]
    for name, value in body.state_dict().items():
        if ".offset." in name:
            value.zero_()
        else:
            value.copy_(plain.state_dict()[name.replace("conv2.conv.", "conv2.")])
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(body(images), plain(images), rtol=1e-3, atol=1e-3)


def test_deformable_flags_are_for_four_stages() -> None:
    with pytest.raises(ConfigError, match=r"STAGE_WITH_DCN.*4 stages, got \(True,\)"):
        ResNet(with_dcn=(True,))


def test_images_of_other_channels() -> None:
    body = ResNet(depth=18, width=8, stem_channels=8, in_channels=5)
    assert body(torch.randn(1, 5, 64, 64))[0].shape == (1, 8, 16, 16)
