"""Kinds of values that many keys share, so that a limit is written once and reads as a word."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
"""A probability, a fraction or an IoU threshold."""

Size: TypeAlias = Annotated[int, Field(ge=1)]
"""A length in pixels or channels, a number of layers, images or iterations: at least one."""

Count: TypeAlias = Annotated[int, Field(ge=0)]
"""A number of things that may be none."""

Classes: TypeAlias = Annotated[int, Field(ge=2)]
"""A number of classes, background included: at least the background and one more."""

Limit: TypeAlias = Annotated[int, Field(ge=-1)]
"""An upper limit; 0 or -1 stands for none."""

NonNegative: TypeAlias = Annotated[float, Field(ge=0)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]

NonNegativeNumber: TypeAlias = Count | NonNegative
"""As NonNegative, but a whole number stays one: the old default is written without a point."""

PositiveNumber: TypeAlias = Size | Positive

BoxLossType: TypeAlias = Literal["smooth_l1", "giou", "diou", "ciou"]
HeadNorm: TypeAlias = Literal["", "BN", "SyncBN", "GN"]
PoolerType: TypeAlias = Literal["ROIAlign", "ROIPool"]

Sizes: TypeAlias = Annotated[tuple[Size, ...], Field(min_length=1)]
Ratios: TypeAlias = Annotated[tuple[Positive, ...], Field(min_length=1)]


def _check_scales(scales: tuple[float, ...]) -> tuple[float, ...]:
    if any(fine != 2 * coarse for fine, coarse in pairwise(scales)):
        raise ValueError("each scale to be half of the one before, finest first")
    return scales


PoolerScales: TypeAlias = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1)], ...],
    Field(min_length=1),
    AfterValidator(_check_scales),
]
"""1 / stride of each feature map that RoIs are pooled from."""


def _check_increasing(steps: tuple[int, ...]) -> tuple[int, ...]:
    if any(first >= second for first, second in pairwise(steps)):
        raise ValueError("iterations in increasing order")
    return steps


Steps: TypeAlias = Annotated[tuple[Size, ...], AfterValidator(_check_increasing)]

# What torch.device takes before the colon.
DEVICE_TYPES = ("cpu", "cuda", "mps", "xpu", "hpu", "npu", "mtia", "xla", "meta", "privateuseone")


def _check_device(device: str) -> str:
    kind, colon, index = device.partition(":")
    if kind not in DEVICE_TYPES or (colon and not index.isdecimal()):
        names = ", ".join(DEVICE_TYPES)
        raise ValueError(f"a device: one of {names}, with an index if needed (cuda:1)")
    return device


Device: TypeAlias = Annotated[str, AfterValidator(_check_device)]
