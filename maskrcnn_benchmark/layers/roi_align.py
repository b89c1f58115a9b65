"""RoIAlign over a feature pyramid, in one operator.

R: regions over all images.    C: channels.    L: levels.    S: output side.
"""

from __future__ import annotations

import torch
import torchvision  # noqa: F401  (registers torch.ops.torchvision)
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from maskrcnn_benchmark.layers.roi_align_cpu import roi_align_backward, roi_align_forward


def _empty_output(features: list[Tensor], rois: Tensor, size: int) -> Tensor:
    """(R, C, S, S), channels innermost in memory: what convolutions want next."""
    shape = (rois.shape[0], features[0].shape[1], size, size)
    return torch.empty(
        shape,
        dtype=features[0].dtype,
        device=features[0].device,
        memory_format=torch.channels_last,
    )


@torch.library.custom_op("maskrcnn::pyramid_roi_align", mutates_args=())
def _pyramid_roi_align(
    features: list[Tensor],
    rois: Tensor,
    levels: Tensor,
    scales: list[float],
    output_size: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    output = _empty_output(features, rois, output_size)
    # As it lies in memory: (R, S, S, C).
    cells = output.permute(0, 2, 3, 1)
    *own, none = rows_by_level(levels, len(features))
    cells.index_fill_(0, none, 0.0)
    for rows, feature, scale in zip(own, features, scales, strict=True):
        if rows.numel():
            pooled = _align(feature, rois[rows], scale, output_size, sampling_ratio, aligned)
            cells.index_copy_(0, rows, pooled.permute(0, 2, 3, 1))
    return output


@_pyramid_roi_align.register_fake
def _(
    features: list[Tensor],
    rois: Tensor,
    levels: Tensor,
    scales: list[float],
    output_size: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    return _empty_output(features, rois, output_size)


@torch.library.custom_op("maskrcnn::pyramid_roi_align_backward", mutates_args=())
def _pyramid_roi_align_backward(
    grad: Tensor,
    like: list[Tensor],
    rois: Tensor,
    levels: Tensor,
    scales: list[float],
    output_size: int,
    sampling_ratio: int,
    aligned: bool,
) -> list[Tensor]:
    result = []
    *own, _ = rows_by_level(levels, len(like))
    for rows, feature, scale in zip(own, like, scales, strict=True):
        if not rows.numel():
            result.append(torch.zeros_like(feature, memory_format=torch.channels_last))
            continue
        gradient = _align_backward(
            grad[rows], feature.shape, rois[rows], scale, output_size, sampling_ratio, aligned
        )
        result.append(gradient.contiguous(memory_format=torch.channels_last))
    return result


@_pyramid_roi_align_backward.register_fake
def _(
    grad: Tensor,
    like: list[Tensor],
    rois: Tensor,
    levels: Tensor,
    scales: list[float],
    output_size: int,
    sampling_ratio: int,
    aligned: bool,
) -> list[Tensor]:
    return [torch.empty_like(feature, memory_format=torch.channels_last) for feature in like]


def _setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: Tensor) -> None:  # type: ignore[type-arg]
    features, rois, levels, scales, output_size, sampling_ratio, aligned = inputs
    ctx.save_for_backward(rois, levels, *features)
    ctx.arguments = (scales, output_size, sampling_ratio, aligned)  # type: ignore[attr-defined]


def _backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple:  # type: ignore[type-arg]
    rois, levels, *features = ctx.saved_tensors  # type: ignore[attr-defined]
    gradients = _pyramid_roi_align_backward(grad, features, rois, levels, *ctx.arguments)  # type: ignore[attr-defined]
    return gradients, None, None, None, None, None, None


_pyramid_roi_align.register_autograd(_backward, setup_context=_setup_context)


def pyramid_roi_align(
    features: list[Tensor],
    rois: Tensor,
    levels: Tensor,
    *,
    scales: list[float],
    output_size: int,
    sampling_ratio: int,
    aligned: bool = False,
) -> Tensor:
    """Pool every region from its own level (Mask R-CNN, section 3), in float32.

    Args:
        features: L maps (B, C, Hl, Wl).
        rois: (R, 5) index of the image, then xyxy in image pixels.
        levels: (R,) int64, from which map each is pooled; a negative level gives zeros at no cost.
        scales: L factors from image pixels to map cells.
        output_size: S.
        sampling_ratio: samples per bin and axis; 0 for as many as the bin has cells.
        aligned: whether coordinates are shifted by half a cell (Detectron: no).

    Returns:
        (R, C, S, S) float32.
    """
    with torch.autocast(rois.device.type, enabled=False):
        result: Tensor = _pyramid_roi_align(
            [feature.float() for feature in features],
            rois.float(),
            levels,
            scales,
            output_size,
            sampling_ratio,
            aligned,
        )
    return result


def roi_align(
    input: Tensor,
    roi: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
) -> Tensor:
    """RoIAlign from one map, in float32: the old function (torchvision's with `aligned=False`).

    Args:
        input: (B, C, H, W).
        roi: (R, 5) index of the image, then xyxy in image pixels.
        output_size: bins, (rows, columns) or one number for both.
        spatial_scale: image pixels to cells.
        sampling_ratio: samples per bin and axis; 0 for as many as the bin has cells.

    Returns:
        (R, C, rows, columns).
    """
    with torch.autocast(input.device.type, enabled=False):
        result: Tensor = torch.ops.torchvision.roi_align(
            input.float(), roi.float(), spatial_scale, *_pair(output_size), sampling_ratio, False
        )
    return result


class ROIAlign(nn.Module):
    """`roi_align` with its numbers kept: the old module."""

    def __init__(
        self, output_size: int | tuple[int, int], spatial_scale: float, sampling_ratio: int
    ) -> None:
        """Keep the numbers; see `roi_align`."""
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """(B, C, H, W) and (R, 5) -> (R, C, rows, columns)."""
        return roi_align(input, rois, self.output_size, self.spatial_scale, self.sampling_ratio)

    def extra_repr(self) -> str:
        """Show the numbers."""
        return (
            f"output_size={self.output_size}, spatial_scale={self.spatial_scale}, "
            f"sampling_ratio={self.sampling_ratio}"
        )


def assign_levels(
    boxes: Tensor,
    *,
    min_level: int,
    max_level: int,
    canonical_size: float = 224.0,
    canonical_level: int = 4,
    offset: float = 1.0,
    eps: float = 1e-6,
) -> Tensor:
    """Pyramid level of each box by its size (FPN, equation 1), counted from `min_level` = 0.

    Args:
        boxes: (..., 4).
        min_level: level of the finest map (2 for stride 4).
        max_level: level of the coarsest.
        canonical_size: side in pixels of a box that belongs to `canonical_level`.
        canonical_level: see above.
        offset: 1 for inclusive corners, 0 for continuous ones.
        eps: Detectron's guard for sizes on the border between two levels.
    """
    size = boxes[..., 2:] - boxes[..., :2] + offset
    area = size[..., 0] * size[..., 1]
    level = torch.floor(canonical_level + torch.log2(area.sqrt() / canonical_size + eps))
    return level.clamp(min_level, max_level).to(torch.int64) - min_level


def rows_by_level(levels: Tensor, count: int) -> tuple[Tensor, ...]:
    """Which regions belong to each level: (R_l,) int64, ascending; at the end those of no level.

    Args:
        levels: (R,) int64; those of a region whose box is not a number may be anything.
        count: L.
    """
    places = torch.where((levels >= 0) & (levels < count), levels, count)
    # One wait for a GPU, not one for each level.
    sizes = (places[:, None] == torch.arange(count + 1, device=levels.device)).sum(dim=0).tolist()
    rows: tuple[Tensor, ...] = places.sort(stable=True).indices.split(sizes)
    return rows


def _uses_bags(feature: Tensor, sampling_ratio: int) -> bool:
    # An adaptive number of samples differs from region to region, which bags of one size cannot express.
    return feature.device.type == "cpu" and sampling_ratio > 0


def _align(
    feature: Tensor, rois: Tensor, scale: float, size: int, sampling_ratio: int, aligned: bool
) -> Tensor:
    if _uses_bags(feature, sampling_ratio):
        return roi_align_forward(feature, rois, scale, size, sampling_ratio, aligned)
    result: Tensor = torch.ops.torchvision.roi_align(
        feature.contiguous(), rois, scale, size, size, sampling_ratio, aligned
    )
    return result


def _align_backward(
    grad: Tensor,
    shape: torch.Size,
    rois: Tensor,
    scale: float,
    size: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    if _uses_bags(grad, sampling_ratio):
        return roi_align_backward(grad, shape, rois, scale, size, sampling_ratio, aligned)
    result: Tensor = torch.ops.torchvision._roi_align_backward(
        grad.contiguous(), rois, scale, size, size, *shape, sampling_ratio, aligned
    )
    return result
