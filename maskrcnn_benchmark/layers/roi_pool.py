"""RoIPool (Fast R-CNN, arXiv:1504.08083): the largest cell of each bin, over one map or a pyramid.

R: regions over all images.    B, C, H, W: a map.    L: levels.    S: output side.
"""

from __future__ import annotations

import torch
import torchvision  # noqa: F401  (registers torch.ops.torchvision)
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from maskrcnn_benchmark.layers.roi_align import rows_by_level


@torch.library.custom_op("maskrcnn::pyramid_roi_pool", mutates_args=())
def _pyramid_roi_pool(
    features: list[Tensor], rois: Tensor, levels: Tensor, scales: list[float], output_size: int
) -> tuple[Tensor, Tensor]:
    output, cells = _empty_output(features, rois, output_size)
    output.zero_()
    cells.fill_(-1)
    *own, _ = rows_by_level(levels, len(features))
    for rows, feature, scale in zip(own, features, scales, strict=True):
        if rows.numel():
            output[rows], cells[rows] = torch.ops.torchvision.roi_pool(
                feature.contiguous(), rois[rows], scale, output_size, output_size
            )
    return output, cells


@_pyramid_roi_pool.register_fake
def _(
    features: list[Tensor], rois: Tensor, levels: Tensor, scales: list[float], output_size: int
) -> tuple[Tensor, Tensor]:
    return _empty_output(features, rois, output_size)


@torch.library.custom_op("maskrcnn::pyramid_roi_pool_backward", mutates_args=())
def _pyramid_roi_pool_backward(
    grad: Tensor,
    cells: Tensor,
    like: list[Tensor],
    rois: Tensor,
    levels: Tensor,
    scales: list[float],
    output_size: int,
) -> list[Tensor]:
    result = []
    *own, _ = rows_by_level(levels, len(like))
    for rows, feature, scale in zip(own, like, scales, strict=True):
        gradient = torch.zeros_like(feature, memory_format=torch.contiguous_format)
        if rows.numel():
            gradient = torch.ops.torchvision._roi_pool_backward(
                grad[rows].contiguous(),
                rois[rows],
                cells[rows],
                scale,
                output_size,
                output_size,
                *feature.shape,
            )
        result.append(gradient)
    return result


@_pyramid_roi_pool_backward.register_fake
def _(
    grad: Tensor,
    cells: Tensor,
    like: list[Tensor],
    rois: Tensor,
    levels: Tensor,
    scales: list[float],
    output_size: int,
) -> list[Tensor]:
    return [torch.empty_like(f, memory_format=torch.contiguous_format) for f in like]


def _setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: tuple) -> None:  # type: ignore[type-arg]
    features, rois, levels, scales, output_size = inputs
    ctx.save_for_backward(output[1], rois, levels, *features)
    ctx.arguments = (scales, output_size)  # type: ignore[attr-defined]


def _backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor, _: Tensor) -> tuple:  # type: ignore[type-arg]
    cells, rois, levels, *features = ctx.saved_tensors  # type: ignore[attr-defined]
    gradients = _pyramid_roi_pool_backward(grad, cells, features, rois, levels, *ctx.arguments)  # type: ignore[attr-defined]
    return gradients, None, None, None, None


_pyramid_roi_pool.register_autograd(_backward, setup_context=_setup_context)


def _empty_output(features: list[Tensor], rois: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Values (R, C, S, S), and for each the cell of its map that they come from."""
    output = features[0].new_empty((rois.shape[0], features[0].shape[1], size, size))
    return output, torch.empty_like(output, dtype=torch.int32)


def pyramid_roi_pool(
    features: list[Tensor], rois: Tensor, levels: Tensor, *, scales: list[float], output_size: int
) -> Tensor:
    """Pool every region from its own level, in float32.

    Args:
        features: L maps (B, C, Hl, Wl).
        rois: (R, 5) index of the image, then xyxy in image pixels; corners are rounded to whole cells.
        levels: (R,) int64, from which map each is pooled; a negative level gives zeros at no cost.
        scales: L factors from image pixels to map cells.
        output_size: S.

    Returns:
        (R, C, S, S) float32; 0 in bins without cells.
    """
    with torch.autocast(rois.device.type, enabled=False):
        output: Tensor
        output, _ = _pyramid_roi_pool(
            [feature.float() for feature in features], rois.float(), levels, scales, output_size
        )
    return output


def roi_pool(
    input: Tensor, roi: Tensor, output_size: int | tuple[int, int], spatial_scale: float
) -> Tensor:
    """RoIPool from one map, in float32: the old function.

    Args:
        input: (B, C, H, W).
        roi: (R, 5) index of the image, then xyxy in image pixels.
        output_size: bins, (rows, columns) or one number for both.
        spatial_scale: image pixels to cells.

    Returns:
        (R, C, rows, columns).
    """
    with torch.autocast(input.device.type, enabled=False):
        result: Tensor = torch.ops.torchvision.roi_pool(
            input.float(), roi.float(), spatial_scale, *_pair(output_size)
        )[0]
    return result


class ROIPool(nn.Module):
    """`roi_pool` with its numbers kept: the old module."""

    def __init__(self, output_size: int | tuple[int, int], spatial_scale: float) -> None:
        """Keep the numbers; see `roi_pool`."""
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """(B, C, H, W) and (R, 5) -> (R, C, rows, columns)."""
        return roi_pool(input, rois, self.output_size, self.spatial_scale)

    def extra_repr(self) -> str:
        """Show the numbers."""
        return f"output_size={self.output_size}, spatial_scale={self.spatial_scale}"
