"""A loaded network made ready to predict fast: what is exact always, what is not when it is asked for."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import nn

from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.linear import Linear
from maskrcnn_benchmark.modeling.detector.detector import Detector
from maskrcnn_benchmark.modeling.norm_folding import fold_frozen_norms

Precision = Literal["float32", "bfloat16", "float16"]
DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
# Parts whose inputs mixed precision brings to the lower type; all others keep their float32 weights.
_LOWERED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, Linear)


def tune(
    network: nn.Module,
    *,
    device: torch.device,
    dtype: Precision = "float32",
    compile_network: bool = False,
) -> nn.Module:
    """Change a network in place for inference; it can be neither trained nor saved afterwards.

    Always: frozen norms are folded into their convolutions, and weights lie channels last, as the images do.

    Args:
        network: in evaluation mode; an exported one has no weights and stays as it is.
        device: where it runs.
        dtype: of convolutions and matrix products. Their weights are cast here, once; boxes, scores and norms are
            computed in float32.
        compile_network: compile `detect`, for batches of one and of several images, whatever their sizes. The first
            image takes a minute or more.

    Raises:
        ConfigError: for a type that the device or the network cannot compute with.
    """
    _check(network, device, dtype, compile_network)
    fold_frozen_norms(network)
    network.to(memory_format=torch.channels_last)
    if dtype != "float32":
        _lower(network, DTYPES[dtype])
    if compile_network and isinstance(network, Detector):
        # Sizes stay symbols in the graph, so that each new size of image does not compile it anew.
        compiled = torch.compile(network.detect, fullgraph=True, dynamic=True)
        network.detect = compiled  # type: ignore[method-assign]
    return network


def precision_context(device: torch.device, dtype: Precision) -> AbstractContextManager[object]:
    """Inside it, activations are of the lower type, too."""
    if dtype == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[dtype])


def _check(network: nn.Module, device: torch.device, dtype: str, compile_network: bool) -> None:
    if dtype not in DTYPES:
        raise ConfigError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    if dtype == "float16" and device.type == "cpu":
        raise ConfigError("dtype float16 needs a GPU; on a CPU use bfloat16")
    is_exported = next(network.parameters(), None) is None
    if is_exported and (dtype != "float32" or compile_network):
        raise ConfigError(
            "an exported model runs as it was exported: leave dtype and compile as they are, "
            "or give the checkpoint it was made from"
        )


def _lower(network: nn.Module, dtype: torch.dtype) -> None:
    for part in network.modules():
        if type(part) in _LOWERED:
            part.to(dtype)
