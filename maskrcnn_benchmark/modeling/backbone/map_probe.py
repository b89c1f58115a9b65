"""Which feature maps a network has: found by running it once on a small image.

B: images.    C: channels.    H, W: height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.errors import ConfigError

# Different sides, so that (B, H, W, C) is told from (B, C, H, W).
_PROBE_SIZE = (64, 96)


def probe_maps(
    run: Callable[[Tensor], Sequence[Tensor]], network: nn.Module, source: str, in_channels: int
) -> list[tuple[int, ...]]:
    """Shapes of the maps of one small image.

    Args:
        run: images -> maps.
        network: set to evaluation for that time.
        source: its name, for messages.
        in_channels: of the image.

    Raises:
        ConfigError: if it fails on such an image.
    """
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            outputs = run(torch.zeros(1, in_channels, *_PROBE_SIZE))
    except (RuntimeError, AssertionError, ValueError, TypeError, NotImplementedError) as error:
        height, width = _PROBE_SIZE
        raise ConfigError(
            explain_no_maps(source, f"it fails on an image of {width}x{height} pixels ({error})")
        ) from error
    finally:
        network.train(was_training)
    return [tuple(output.shape) for output in outputs]


def read_strides(source: str, shapes: Sequence[Sequence[int]]) -> tuple[list[int], list[bool]]:
    """Stride of each map, and whether its channels are the last axis.

    Raises:
        ConfigError: if the sides of a map are no fraction of the image's.
    """
    strides, channels_last = [], []
    for shape in shapes:
        places = {False: shape[2:4], True: shape[1:3]} if len(shape) == 4 else {}
        found = [
            (_PROBE_SIZE[0] // sides[0], is_last)
            for is_last, sides in places.items()
            if all(sides) and _PROBE_SIZE[0] * sides[1] == _PROBE_SIZE[1] * sides[0]
            if _PROBE_SIZE[0] % sides[0] == 0
        ]
        if not found:
            why = f"for an image of {_PROBE_SIZE} pixels it gives a map of shape {tuple(shape)}, which has no stride"
            raise ConfigError(explain_no_maps(source, why))
        strides.append(found[0][0])
        channels_last.append(found[0][1])
    return strides, channels_last


def choose_strides(
    source: str, available: Sequence[int], wanted: Sequence[int] | None
) -> tuple[int, ...]:
    """The strides that are wanted, the coarsest alone for None.

    Raises:
        ConfigError: if one is not available.
    """
    if wanted is None:
        return (available[-1],)
    lacking = [stride for stride in wanted if stride not in available]
    if lacking:
        raise ConfigError(
            f"MODEL.BACKBONE.CONV_BODY: a pyramid on {source} needs maps of stride {', '.join(map(str, wanted))}, but "
            f"it has only those of stride {', '.join(map(str, available))}. Take another network, or leave out -FPN "
            f"for its map of stride {available[-1]} alone"
        )
    return tuple(wanted)


def explain_no_maps(source: str, why: str) -> str:
    """The message for a network that cannot be a backbone."""
    return (
        f"MODEL.BACKBONE.CONV_BODY: {source} cannot be a backbone: {why}. Take one whose maps halve their size from "
        "stage to stage, such as torchvision/resnet50-FPN, torchvision/mobilenet_v2-FPN or timm/convnext_tiny-FPN"
    )
