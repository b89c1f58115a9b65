"""What a network is made of: parameters, layers and arithmetic of each of its parts.

FLOPs are those of convolutions and matrix products, a multiplication and an addition counting as two, for one image of
the test size with as many proposals as the config allows and as many detections as fit (at most
ROI_HEADS.DETECTIONS_PER_IMG): the most the network can be asked to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.config import Config

_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


@dataclass(frozen=True, kw_only=True)
class PartInfo:
    """One part of a network.

    Attributes:
        name: such as backbone.body or roi_heads.box.
        kind: its class.
        parameters: numbers it has learnt or will learn, scale and shift of frozen norms included.
        trainable: of these, how many training changes.
        layers: convolutions and linear layers.
        flops: see the module; 0 where they were not counted.
    """

    name: str
    kind: str
    parameters: int
    trainable: int
    layers: int
    flops: int


def describe_parts(cfg: Config, *, count_flops: bool = True) -> list[PartInfo]:
    """The parts of the network that a config describes, in the order of the data, and their sum.

    Args:
        cfg: of the network; its weights are not loaded.
        count_flops: run the network once on an empty image, on the CPU, to count (seconds).
    """
    model = build_model(cfg).eval()
    flops = _count_flops(model, cfg) if count_flops else {}
    parts = dict(_parts(model))
    infos = [_describe(name, part, flops.get(name, 0)) for name, part in parts.items()]
    total = _describe("all", model, sum(info.flops for info in infos))
    return [*infos, total]


def _parts(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Children; of backbone and heads, the children's children."""
    for name, child in model.named_children():
        if name in ("backbone", "roi_heads"):
            for inner, grandchild in child.named_children():
                yield f"{name}.{inner}", grandchild
        else:
            yield name, child


def _describe(name: str, part: nn.Module, flops: int) -> PartInfo:
    # Scale and shift of a frozen norm are buffers; statistics and anchors are no parameters.
    buffers = (b for name, b in part.named_buffers() if name.endswith((".weight", ".bias")))
    trainable = sum(p.numel() for p in part.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in part.parameters() if not p.requires_grad)
    return PartInfo(
        name=name,
        kind=type(part).__name__,
        parameters=trainable + frozen + sum(b.numel() for b in buffers),
        trainable=trainable,
        layers=sum(isinstance(module, _LAYERS) for module in part.modules()),
        flops=flops,
    )


@torch.inference_mode()
def _count_flops(model: nn.Module, cfg: Config) -> dict[str, int]:
    short, long = cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST
    # COCO's usual shape, 3:4, as far as the long side may go.
    height, width = short, min(long, short * 4 // 3)
    image = torch.zeros(cfg.INPUT.CHANNELS, height, width)
    with _every_detection(model), FlopCounterMode(display=False) as counter:
        model([image])
    counts = counter.get_flop_counts()
    root = type(model).__name__
    return {name: sum(counts.get(f"{root}.{name}", {}).values()) for name, _ in _parts(model)}


@contextmanager
def _every_detection(model: nn.Module) -> Iterator[None]:
    """Let every detection pass, however low its score."""
    found: list[Any] = [
        module.post_processor
        for module in model.modules()
        if hasattr(getattr(module, "post_processor", None), "score_threshold")
    ]
    before = [processor.score_threshold for processor in found]
    for processor in found:
        processor.score_threshold = -1.0
    try:
        yield
    finally:
        for processor, threshold in zip(found, before, strict=True):
            processor.score_threshold = threshold
