"""timm: its ResNets as feature extractors, with torchvision's names; other bodies keep their names."""

from __future__ import annotations

import re

from torch import Tensor

from maskrcnn_benchmark.checkpoint.dialects.base import Converted, Shapes
from maskrcnn_benchmark.checkpoint.dialects.layouts import fold_epsilon

_RESNET = {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight"}
# The beginnings of its other families: ConvNeXt, RegNet, EfficientNet, MobileNetV3, Swin and the like.
_OTHERS = ("stem.0.", "stem_0.", "stem.conv.", "conv_stem.", "patch_embed.proj.")
_STAGES = re.compile(r"(stages|blocks|layers)[._]\d+\.")
_CLASSIFIER = re.compile(r"(fc|head|classifier)\..+")


def recognise(names: Shapes) -> bool:
    """Whether a stem and stages have its names; a whole ResNet of its own is told from torchvision's by nothing."""
    if names.keys() >= _RESNET:
        return not any(name.startswith("fc.") for name in names)
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
        settings=(
            ("INPUT.TO_BGR255", False),
            ("INPUT.PIXEL_MEAN", (0.485, 0.456, 0.406)),
            ("INPUT.PIXEL_STD", (0.229, 0.224, 0.225)),
            ("MODEL.RESNETS.STRIDE_IN_1X1", False),
        ),
        is_detector=False,
        unused=tuple(unused),
    )
