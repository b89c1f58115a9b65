"""timm: its ResNets as feature extractors, with torchvision's names; other bodies keep their names."""

from __future__ import annotations

import re

from torch import Tensor

from maskrcnn_benchmark.checkpoint.dialects.base import (
    IMAGENET_INPUT,
    Converted,
    Shapes,
)
from maskrcnn_benchmark.checkpoint.dialects.layouts import fold_epsilon, variances

_RESNET = {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight"}
# The beginnings of its other families: ConvNeXt, RegNet, EfficientNet, MobileNetV3, Swin and the like.
_OTHERS = ("stem.0.", "stem_0.", "stem.conv.", "stem.conv1.", "conv_stem.", "patch_embed.proj.")
_STAGES = re.compile(r"((stages|blocks|layers)[._]\d+|s\d\.b\d)\.")
# Relatives of its ResNets, with a deep stem (resnet50d, ResNeSt) or other blocks (SKNet).
_RELATIVES = ("conv1.weight", "conv1.0.weight")
_CLASSIFIER = re.compile(r"(fc|head|classifier)\..+")


def recognise(names: Shapes) -> bool:
    """Whether a stem and stages have its names; a whole ResNet of its own is told from torchvision's by nothing."""
    if names.keys() >= _RESNET:
        return not any(name.startswith("fc.") for name in names)
    if any(stem in names for stem in _RELATIVES):
        return any(name.startswith("layer1.0.") for name in names)
    return any(name.startswith(_OTHERS) for name in names) and any(map(_STAGES.match, names))


def convert(weights: dict[str, Tensor]) -> Converted:
    """Give the stem of a ResNet its name, and leave the classifier out."""
    is_resnet = weights.keys() >= _RESNET
    converted = {}
    unused = []
    for name, value in weights.items():
        if _CLASSIFIER.fullmatch(name):
            unused.append(name)
        elif is_resnet:
            own = f"backbone.body.stem.{name}" if name.startswith(("conv1.", "bn1.")) else name
            converted[own] = fold_epsilon(own, value)
        else:
            converted[name] = value
    return Converted(
        dialect="timm",
        weights=converted,
        settings=(*IMAGENET_INPUT, ("MODEL.RESNETS.STRIDE_IN_1X1", False)),
        is_detector=False,
        unused=tuple(unused),
        folded=variances(converted) if is_resnet else frozenset(),
    )
