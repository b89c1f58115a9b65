from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.checkpoint.input_channels import adapt_input_channels


def body(channels: int) -> nn.Module:
    conv = nn.Conv2d(channels, 8, 3, bias=False)
    return nn.Sequential(conv, nn.Conv2d(8, 4, 3))


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_a_grey_image_gives_what_it_gave(channels: int, caplog: pytest.LogCaptureFixture) -> None:
    colours, network = body(3), body(channels)
    with caplog.at_level(logging.WARNING):
        adapted = adapt_input_channels(network.state_dict(), colours.state_dict())
    network.load_state_dict(adapted)
    grey = torch.rand(1, 1, 9, 9)
    expected = colours(grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(network(grey.expand(-1, channels, -1, -1)), expected)
    assert ("spread over" in caplog.text) == (channels != 3)


def test_other_differences_are_not_touched() -> None:
    wider = nn.Sequential(nn.Conv2d(4, 16, 3, bias=False), nn.Conv2d(8, 4, 3))
    loaded = body(3).state_dict()
    adapted = adapt_input_channels(wider.state_dict(), loaded)
    assert all(adapted[name] is loaded[name] for name in loaded)
