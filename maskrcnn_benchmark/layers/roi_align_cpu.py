"""RoIAlign on a CPU as a weighted sum of cells: every output bin is a bag of (cell, weight) pairs.

torchvision's CPU kernel walks over channels one at a time in a single thread. With the channels of a cell side by side
in memory, a bin is the weighted sum of a few contiguous rows, which is what `embedding_bag` computes, vectorised and
in all threads; its backward likewise. Measured on one core for 700 regions of 256 channels: 7 times as fast forward,
6 times backward.

R: regions.    B, C, H, W: the map.    S: bins per axis.    G: samples per bin and axis.    T = 4GG: cells of a bin.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def roi_align_forward(
    feature: Tensor, rois: Tensor, scale: float, size: int, samples: int, aligned: bool
) -> Tensor:
    """Average `samples` x `samples` bilinear samples in each of `size` x `size` bins.

    Args:
        feature: (B, C, H, W) float32.
        rois: (R, 5) index of the image, then xyxy in image pixels.
        scale: image pixels to cells.
        size: S.
        samples: G, above 0.
        aligned: as in torchvision.

    Returns:
        (R, C, S, S), its channels innermost in memory.
    """
    channels = feature.shape[1]
    cells, weights = _bins(feature.shape, rois, scale, size, samples, aligned)
    table = feature.permute(0, 2, 3, 1).reshape(-1, channels)
    out = F.embedding_bag(cells, table, per_sample_weights=weights, mode="sum")
    return out.view(len(rois), size, size, channels).permute(0, 3, 1, 2)


def roi_align_backward(
    grad: Tensor,
    shape: torch.Size,
    rois: Tensor,
    scale: float,
    size: int,
    samples: int,
    aligned: bool,
) -> Tensor:
    """Gradient (B, C, H, W) of the map of `shape`, from that of the output (R, C, S, S)."""
    batch, channels, height, width = shape
    cells, weights = _bins(shape, rois, scale, size, samples, aligned)
    rows = grad.permute(0, 2, 3, 1).reshape(-1, channels)
    bags, per_bag = cells.shape
    empty = torch.empty(0, dtype=torch.int64)
    table = torch.ops.aten._embedding_bag_dense_backward(
        rows,
        cells.flatten().long(),
        torch.arange(bags).repeat_interleave(per_bag),
        empty,
        empty,
        batch * height * width,
        False,  # do not scale by frequency
        0,  # sum
        weights.flatten(),
        -1,  # no padding index
    )
    result: Tensor = table.view(batch, height, width, channels).permute(0, 3, 1, 2)
    return result


def _bins(
    shape: torch.Size, rois: Tensor, scale: float, size: int, samples: int, aligned: bool
) -> tuple[Tensor, Tensor]:
    """Cells (R * S * S, T) int32 of each bin, and their weights."""
    _, _, height, width = shape
    count = len(rois)
    # A diverged model proposes boxes that are not numbers; the loss will tell, so do not fail here.
    corners = torch.nan_to_num(rois[:, 1:], posinf=0.0, neginf=0.0) * scale
    if aligned:
        corners = corners - 0.5
    x, wx = _axis(corners[:, 0], corners[:, 2], size, samples, width, aligned)
    y, wy = _axis(corners[:, 1], corners[:, 3], size, samples, height, aligned)
    taps = 2 * samples
    y, wy = y.view(count, size, 1, taps, 1), wy.view(count, size, 1, taps, 1)
    x, wx = x.view(count, 1, size, 1, taps), wx.view(count, 1, size, 1, taps)
    first = (rois[:, 0].to(torch.int32) * (height * width)).view(count, 1, 1, 1, 1)
    cells = first + y * width + x
    weights = wy * wx / (samples * samples)
    return cells.view(count * size * size, -1), weights.view(count * size * size, -1)


def _axis(
    low: Tensor, high: Tensor, size: int, samples: int, length: int, aligned: bool
) -> tuple[Tensor, Tensor]:
    """Positions (R, S * G, 2) int32 and weights of the two neighbours of every sample along one axis."""
    extent = high - low
    if not aligned:
        extent = extent.clamp(min=1.0)
    bin_size = (extent / size)[:, None, None]
    number = torch.arange(size, dtype=torch.float32)[None, :, None]
    inner = torch.arange(samples, dtype=torch.float32)[None, None, :] + 0.5
    # The order of operations is torchvision's: on a large map another order moves samples visibly.
    position = low[:, None, None] + number * bin_size + inner * bin_size / samples
    position = position.flatten(1)  # (R, S * G)
    inside = (position >= -1.0) & (position <= length)
    position = position.clamp(0, length)
    near = position.floor().clamp(max=length - 1)
    far = (near + 1).clamp(max=length - 1)
    fraction = torch.where(near >= length - 1, 0.0, position - near)
    weights = torch.stack((1 - fraction, fraction), dim=-1) * inside[..., None]
    return torch.stack((near, far), dim=-1).to(torch.int32), weights
