"""What every dialect of weights is turned into.

A dialect is one module of this folder with two functions:

    recognise(names: Mapping[str, tuple[int, ...]]) -> bool    names -> shapes, nothing else is looked at
    convert(weights: dict[str, Tensor]) -> Converted           names, layouts and order of classes become ours
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

# Name -> shape of each array of a file.
Shapes = Mapping[str, tuple[int, ...]]
# Configuration key -> value, in the order in which they are to be set.
Settings = tuple[tuple[str, Any], ...]

# Input of nearly all networks that PyTorch's programs trained on ImageNet: RGB from 0 to 1.
IMAGENET_INPUT: Settings = (
    ("INPUT.TO_BGR255", False),
    ("INPUT.PIXEL_MEAN", (0.485, 0.456, 0.406)),
    ("INPUT.PIXEL_STD", (0.229, 0.224, 0.225)),
)


@dataclass(frozen=True, kw_only=True)
class Converted:
    """Weights under this package's names, and what they need to mean the same here.

    Attributes:
        dialect: native, legacy, caffe2, detectron2, torchvision, tensorpack, mmdet or timm.
        weights: name -> tensor in this package's layout, background first among classes. A name may be the end of the
            model's name, as `checkpoint.matching` finds it.
        settings: configuration keys these weights need, such as ("MODEL.NUMERICS", "torchvision").
        is_detector: whether these are all weights of a detector; False for an ImageNet body.
        unused: names in the file that have no counterpart here and are left out on purpose.
        folded: names of the variances that include the epsilon of their norm, for frozen norms without one.
    """

    dialect: str
    weights: dict[str, Tensor]
    settings: Settings = ()
    is_detector: bool = True
    unused: tuple[str, ...] = ()
    folded: frozenset[str] = frozenset()


class Dialect(Protocol):
    """A module of this folder."""

    def recognise(self, names: Shapes) -> bool:
        """Whether a file with these names and shapes is of this dialect."""

    def convert(self, weights: dict[str, Tensor]) -> Converted:
        """Rename and rearrange."""
