"""Old names of torch's own layers, from a time when those refused empty batches."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.nn import BatchNorm2d, Conv2d, ConvTranspose2d

from maskrcnn_benchmark.layers.deform_conv import DFConv2d

__all__ = ["BatchNorm2d", "Conv2d", "ConvTranspose2d", "DFConv2d", "interpolate"]


def interpolate(
    input: Tensor,
    size: int | tuple[int, int] | None = None,
    scale_factor: float | tuple[float, float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """`torch.nn.functional.interpolate` with the old order of arguments: (B, C, H, W) -> (B, C, H', W')."""
    return F.interpolate(
        input,
        size=size,
        scale_factor=scale_factor,
        mode=mode,
        align_corners=align_corners,
    )
