from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling.backbone.map_probe import (
    choose_strides,
    probe_maps,
    read_strides,
)


def test_strides_of_both_layouts() -> None:
    # The probe is 64 x 96 pixels; 16 channels could be a side.
    shapes = [(1, 16, 32, 48), (1, 16, 24, 16), (1, 128, 4, 6), (1, 2, 3, 512)]
    assert read_strides("a", shapes) == ([2, 4, 16, 32], [False, True, False, True])


@pytest.mark.parametrize("shape", [(1, 16, 31, 47), (1, 24, 96), (1, 8, 32, 32), (1, 8, 0, 0)])
def test_maps_without_a_stride(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="has no stride"):
        read_strides("a", [shape])


def test_the_network_is_left_as_it_was() -> None:
    network = nn.Sequential(nn.BatchNorm2d(5)).train()

    def run(images: Tensor) -> list[Tensor]:
        assert not network.training
        return [network(images)]

    assert probe_maps(run, network, "a", in_channels=5) == [(1, 5, 64, 96)]
    assert network.training
    assert torch.equal(network[0].running_var, torch.ones(5))


def test_a_network_that_fails() -> None:
    network = nn.Conv2d(3, 8, 200)
    with pytest.raises(ConfigError, match="fails on an image of 96x64 pixels"):
        probe_maps(lambda images: [network(images)], network, "a", in_channels=3)


def test_choice() -> None:
    assert choose_strides("a", [2, 4, 8, 16], (4, 8)) == (4, 8)
    assert choose_strides("a", [2, 4, 8, 16], None) == (16,)
    with pytest.raises(ConfigError, match="only those of stride 2, 4, 8, 16"):
        choose_strides("a", [2, 4, 8, 16], (4, 8, 16, 32))
