"""The pyramid against torchvision's, and its variants."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import Tensor
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool as TorchvisionMaxPool

from maskrcnn_benchmark.modeling.backbone.fpn import FPN, LastLevelMaxPool

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
