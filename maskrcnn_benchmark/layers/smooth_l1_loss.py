"""The old project's smooth L1 (Fast R-CNN, arXiv:1504.08083, equation 3); the network uses `layers.losses`."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def smooth_l1_loss(
    input: Tensor, target: Tensor, beta: float = 1.0 / 9, size_average: bool = True
) -> Tensor:
    """0.5 d^2 / beta where the difference is below beta, else d - 0.5 beta; mean of all elements, or their sum."""
    return F.smooth_l1_loss(input, target, beta=beta, reduction="mean" if size_average else "sum")
