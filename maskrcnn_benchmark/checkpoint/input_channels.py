"""The first convolution of weights trained on colour images, for images of other channels.

The filters of the three colours are repeated over the channels in turn and scaled by 3 / channels: an image whose
channels all hold the same gives about what the grey image gave before, exactly for 1 channel and multiples of 3.
Carreira and Zisserman (arXiv:1705.07750) inflate filters over time in the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import Tensor

from maskrcnn_benchmark.checkpoint.matching import match_keys

logger = logging.getLogger(__name__)

_COLOURS = 3


def adapt_input_channels(
    model_state: Mapping[str, Tensor], loaded: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Loaded weights in which the filters of the input fit the model's channels; what was changed is logged.

    Only a convolution that differs in nothing but its input channels, 3 in the file, is the one meant.
    """
    adapted = dict(loaded)
    for key, source in match_keys(model_state, loaded).items():
        own, given = model_state[key], loaded[source]
        if own.shape == given.shape or not _differs_in_channels(own, given):
            continue
        channels = own.shape[1]
        places = torch.arange(channels) % _COLOURS
        filters = given[:, places] if channels > 1 else given.mean(dim=1, keepdim=True)
        adapted[source] = filters * (_COLOURS / channels)
        logger.warning(
            "%s: the filters of %d colours in the file were spread over the %d channels of INPUT.CHANNELS",
            key,
            _COLOURS,
            channels,
        )
    return adapted


def _differs_in_channels(own: Tensor, given: Tensor) -> bool:
    if own.dim() != 4 or given.dim() != 4 or given.shape[1] != _COLOURS:
        return False
    return own.shape[0] == given.shape[0] and own.shape[2:] == given.shape[2:]
