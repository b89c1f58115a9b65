"""The pyramid against torchvision's, and its variants."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import Tensor
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool as TorchvisionMaxPool
from torchvision.ops.feature_pyramid_network import LastLevelP6P7 as TorchvisionP6P7

from maskrcnn_benchmark.modeling.backbone.fpn import FPN, LastLevelMaxPool, LastLevelP6P7

CHANNELS = [4, 8, 16, 32]


def body_maps(height: int, width: int) -> list[Tensor]:
    """Maps as strides 4, 8, 16, 32 make them: each half of the one before, rounded up."""
    maps = []
    for channels in CHANNELS:
        maps.append(torch.randn(2, channels, height, width, dtype=torch.float64))
        height, width = (height + 1) // 2, (width + 1) // 2
    return maps


@pytest.mark.parametrize("size", [(32, 48), (25, 19), (7, 40)])
def test_maps_are_torchvisions(size: tuple[int, int]) -> None:
    ours = FPN(in_channels=CHANNELS, out_channels=6, top_block=LastLevelMaxPool()).double()
    reference = FeaturePyramidNetwork(CHANNELS, 6, extra_blocks=TorchvisionMaxPool()).double()
    state = {}
    for index in range(4):
        for kind, theirs in (("inner", "inner_blocks"), ("layer", "layer_blocks")):
            for part in ("weight", "bias"):
                value = ours.get_parameter(f"fpn_{kind}{index + 1}.{part}")
                if part == "bias":
                    value.data.normal_()
                state[f"{theirs}.{index}.0.{part}"] = value
    reference.load_state_dict(state, strict=True)
    maps = body_maps(*size)
    named = OrderedDict((str(index), value) for index, value in enumerate(maps))
    torch.testing.assert_close(ours(maps), list(reference(named).values()))


def test_the_last_level_is_every_second_cell() -> None:
    x = torch.arange(30.0).view(1, 1, 5, 6)
    (coarse,) = LastLevelMaxPool()(x)
    assert coarse[0, 0].tolist() == [[0.0, 2.0, 4.0], [12.0, 14.0, 16.0], [24.0, 26.0, 28.0]]


@pytest.mark.parametrize("use_c5", [True, False])
def test_p6_and_p7_are_torchvisions(use_c5: bool) -> None:
    channels, in_channels = CHANNELS[1:], CHANNELS[-1] if use_c5 else 6
    top = LastLevelP6P7(in_channels=in_channels, out_channels=6, use_c5=use_c5)
    ours = FPN(in_channels=channels, out_channels=6, first_level=2, top_block=top).double()
    # torchvision takes P5 where the channels are those of the pyramid, else C5.
    theirs = TorchvisionP6P7(in_channels, 6).double()
    assert theirs.use_P5 == (not use_c5)
    for name, value in theirs.named_parameters():
        assert name.endswith("weight") or not value.any()
        ours.get_parameter(f"top_blocks.{name}").data.copy_(value.data.add_(0.1))
    for size in ((32, 48), (25, 19)):
        maps = body_maps(*size)[1:]
        got = ours(maps)
        names = [str(level) for level in range(3)]
        expected, _ = theirs(got[:3], maps, list(names))
        assert len(got) == 5
        torch.testing.assert_close(got, expected)
        assert [m.shape[-2] for m in got[1:]] == [-(-m.shape[-2] // 2) for m in got[:4]]


def test_without_a_top_block_there_are_as_many_maps_as_came() -> None:
    fpn = FPN(in_channels=CHANNELS[1:], out_channels=6, first_level=2).double()
    assert [name for name, _ in fpn.named_children()] == [
        "fpn_inner2",
        "fpn_layer2",
        "fpn_inner3",
        "fpn_layer3",
        "fpn_inner4",
        "fpn_layer4",
    ]
    maps = fpn(body_maps(32, 32)[1:])
    assert [tuple(m.shape) for m in maps] == [(2, 6, 16, 16), (2, 6, 8, 8), (2, 6, 4, 4)]


def test_group_norm_and_relu() -> None:
    fpn = FPN(
        in_channels=CHANNELS, out_channels=6, norm="GN", norm_groups=3, use_relu=True
    ).double()
    # A sequence of convolution without bias, norm and ReLU.
    names = [name for name, _ in fpn.named_parameters() if name.startswith("fpn_inner1")]
    assert names == ["fpn_inner1.0.weight", "fpn_inner1.1.weight", "fpn_inner1.1.bias"]
    assert all((m >= 0).all() for m in fpn(body_maps(16, 16)))
    plain = FPN(in_channels=CHANNELS, out_channels=6)
    names = [name for name, _ in plain.named_parameters() if name.startswith("fpn_inner1")]
    assert names == ["fpn_inner1.weight", "fpn_inner1.bias"]


@pytest.mark.parametrize("size", [(64, 96), (50, 70)])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_inference_adds_in_place_what_training_adds(
    size: tuple[int, int], memory_format: torch.memory_format
) -> None:
    maps = [each.contiguous(memory_format=memory_format) for each in body_maps(*size)]
    before = [each.clone() for each in maps]
    fpn = FPN(in_channels=CHANNELS, out_channels=8).double()
    expected = fpn(maps)
    with torch.no_grad():
        got = fpn(maps)
    torch.testing.assert_close(got, [each.detach() for each in expected])
    # Only maps of its own are written into.
    torch.testing.assert_close(maps, before, rtol=0, atol=0)
