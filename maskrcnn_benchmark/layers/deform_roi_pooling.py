"""Deformable position-sensitive RoI pooling (arXiv:1703.06211, section 2.2), in plain torch.

Each bin of a region is the mean of some bilinear samples, is moved by an offset of its own, and reads its own group
of channels.

B, H, W: a map.    R: regions.    S: bins per axis.    O: output channels.    K: classes of offsets.
P: parts per axis, for which offsets are given.    G: groups of channels per axis.    N: samples per bin and axis.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.errors import ShapeError

# Regions narrower than this many cells count as so wide.
_LEAST_EXTENT = 0.1


def deform_roi_pooling(
    data: Tensor,
    rois: Tensor,
    offset: Tensor,
    spatial_scale: float,
    out_size: int,
    out_channels: int,
    no_trans: bool,
    group_size: int = 1,
    part_size: int | None = None,
    sample_per_part: int = 4,
    trans_std: float = 0.0,
) -> Tensor:
    """Pool regions, bins moved by offsets; differentiable in `data` and `offset`, in float32.

    Args:
        data: (B, O * G * G, H, W); the channels of output o and group (gy, gx) are (o * G + gy) * G + gx.
        rois: (R, 5) index of the image, then xyxy in image pixels, rounded to whole ones.
        offset: (R, 2K, P, P) in units of the region's size times `trans_std`, (dx, dy) for each class of O / K
            channels; not read with `no_trans`.
        spatial_scale: image pixels to cells.
        out_size: S.
        out_channels: O.
        no_trans: leave bins in their places.
        group_size: G.
        part_size: P, S unless given.
        sample_per_part: N.
        trans_std: factor of the offsets.

    Returns:
        (R, O, S, S); 0 in bins whose samples all lie beyond the map.

    Raises:
        ShapeError: if channels do not fit.
    """
    if data.shape[1] != out_channels * group_size**2:
        raise ShapeError(
            f"deform_roi_pooling: expected {out_channels} x {group_size}^2 = {out_channels * group_size**2} channels "
            f"in data, got {data.shape[1]}."
        )
    with torch.autocast(data.device.type, enabled=False):
        data, rois = data.float(), rois.float()
        moves = _moves(offset, rois, out_size, part_size or out_size, trans_std, no_trans)
        if out_channels % moves.shape[1]:
            raise ShapeError(
                f"deform_roi_pooling: {out_channels} output channels cannot be split into {moves.shape[1]} classes."
            )
        x, y = _positions(rois, moves, spatial_scale, out_size, sample_per_part)
        return _pool(data, rois[:, 0].long(), x, y, group_size)


def _moves(
    offset: Tensor, rois: Tensor, size: int, parts: int, trans_std: float, no_trans: bool
) -> Tensor:
    """(R, K, 2, S, S): shift (dx, dy) of each bin in units of the region's size."""
    if no_trans:
        return rois.new_zeros((len(rois), 1, 2, size, size))
    if offset.shape[1] % 2 or offset.shape[2:] != (parts, parts):
        raise ShapeError(
            f"deform_roi_pooling: expected offsets (R, 2K, {parts}, {parts}), got {tuple(offset.shape)}."
        )
    part = torch.arange(size, device=offset.device) * parts // size
    moves: Tensor = offset.float().unflatten(1, (-1, 2))[..., part[:, None], part[None, :]]
    return moves * trans_std


def _round(values: Tensor) -> Tensor:
    """Half away from zero, as C does."""
    rounded: Tensor = values.sign() * (values.abs() + 0.5).floor()
    return rounded


def _positions(
    rois: Tensor, moves: Tensor, scale: float, size: int, samples: int
) -> tuple[Tensor, Tensor]:
    """Columns and rows of all samples, in cells, each (R, K, S, S, N, N)."""
    low = _round(rois[:, 1:3]) * scale - 0.5
    extent = ((_round(rois[:, 3:5]) + 1) * scale - 0.5 - low).clamp(min=_LEAST_EXTENT)
    bins = torch.arange(size, device=rois.device, dtype=torch.float32)
    inner = torch.arange(samples, device=rois.device, dtype=torch.float32)
    axes = []
    for axis in range(2):  # x, y
        step = (extent[:, axis] / size)[:, None, None, None, None, None]
        start = low[:, axis][:, None, None, None, None, None]
        shift = (moves[:, :, axis] * extent[:, None, None, axis, None])[..., None, None]
        bin_shape = (1, 1, 1, size, 1, 1) if axis == 0 else (1, 1, size, 1, 1, 1)
        inner_shape = (1, 1, 1, 1, 1, samples) if axis == 0 else (1, 1, 1, 1, samples, 1)
        place = start + step * (bins.view(bin_shape) + inner.view(inner_shape) / samples)
        axes.append(place + shift)
    x, y = torch.broadcast_tensors(*axes)
    return x, y


def _pool(data: Tensor, image: Tensor, x: Tensor, y: Tensor, groups: int) -> Tensor:
    """Mean of the samples of each bin, from the bin's group of channels: (R, O, S, S)."""
    _, channels, height, width = data.shape
    count, classes, size = x.shape[:3]
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    left, top = x.detach().floor(), y.detach().floor()
    fx, fy = x - left, y - top
    # One row for every image, group and cell; in it one vector for every class.
    per_class = channels // groups**2 // classes
    table = data.unflatten(1, (classes, per_class, groups * groups)).permute(0, 3, 4, 5, 1, 2)
    table = table.reshape(-1, classes, per_class)
    group = torch.arange(size, device=data.device) * groups // size
    first = (image.view(-1, 1, 1) * groups**2 + group[:, None] * groups + group[None, :]) * height
    first = first.view(count, 1, size, size, 1, 1)
    number = torch.arange(classes, device=data.device).view(1, -1, 1, 1, 1, 1)
    total = data.new_zeros((count, classes, size, size, per_class))
    for dy, wy in ((0, 1 - fy), (1, fy)):
        for dx, wx in ((0, 1 - fx), (1, fx)):
            row = (top.long() + dy).clamp(max=height - 1)
            column = (left.long() + dx).clamp(max=width - 1)
            values = table[(first + row) * width + column, number]
            total = total + (values * (wy * wx * inside)[..., None]).sum(dim=(4, 5))
    mean = total / inside.sum(dim=(4, 5)).clamp(min=1)[..., None]
    return mean.permute(0, 1, 4, 2, 3).flatten(1, 2)


class DeformRoIPooling(nn.Module):
    """`deform_roi_pooling` with its numbers kept."""

    def __init__(
        self,
        spatial_scale: float,
        out_size: int,
        out_channels: int,
        no_trans: bool,
        group_size: int = 1,
        part_size: int | None = None,
        sample_per_part: int = 4,
        trans_std: float = 0.0,
    ) -> None:
        """Keep the numbers; see `deform_roi_pooling`."""
        super().__init__()
        self.spatial_scale = spatial_scale
        self.out_size = out_size
        self.out_channels = out_channels
        self.no_trans = no_trans
        self.group_size = group_size
        self.part_size = part_size or out_size
        self.sample_per_part = sample_per_part
        self.trans_std = trans_std

    def forward(self, data: Tensor, rois: Tensor, offset: Tensor) -> Tensor:
        """Map, regions (R, 5) and offsets (R, 2K, P, P) -> (R, O, S, S)."""
        return self._pool(data, rois, offset, no_trans=self.no_trans)

    def _pool(self, data: Tensor, rois: Tensor, offset: Tensor, *, no_trans: bool) -> Tensor:
        return deform_roi_pooling(
            data,
            rois,
            offset,
            self.spatial_scale,
            self.out_size,
            self.out_channels,
            no_trans,
            self.group_size,
            self.part_size,
            self.sample_per_part,
            self.trans_std,
        )


class DeformRoIPoolingPack(DeformRoIPooling):
    """`DeformRoIPooling` that finds its offsets from the region itself, pooled without any; they start at zero."""

    def __init__(
        self,
        spatial_scale: float,
        out_size: int,
        out_channels: int,
        no_trans: bool,
        group_size: int = 1,
        part_size: int | None = None,
        sample_per_part: int = 4,
        trans_std: float = 0.0,
        deform_fc_channels: int = 1024,
    ) -> None:
        """Build; `deform_fc_channels` is the width of the layers that find the offsets."""
        super().__init__(
            spatial_scale,
            out_size,
            out_channels,
            no_trans,
            group_size,
            part_size,
            sample_per_part,
            trans_std,
        )
        self.deform_fc_channels = deform_fc_channels
        self.offset_fc: nn.Sequential | None = None
        if not no_trans:
            self.offset_fc = self._layers(2, hidden=2)

    def _layers(self, channels: int, *, hidden: int) -> nn.Sequential:
        """Linear layers from the pooled region to `channels` of each bin, the last at zero."""
        width = self.out_size**2 * self.out_channels
        layers: list[nn.Module] = []
        for _ in range(hidden):
            layers += [nn.Linear(width, self.deform_fc_channels), nn.ReLU(inplace=True)]
            width = self.deform_fc_channels
        last = nn.Linear(width, self.out_size**2 * channels)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        return nn.Sequential(*layers, last)

    def forward(self, data: Tensor, rois: Tensor) -> Tensor:  # type: ignore[override]
        """Map and regions (R, 5) -> (R, O, S, S)."""
        pooled, _ = self._pool_moved(data, rois)
        return pooled

    def _pool_moved(self, data: Tensor, rois: Tensor) -> tuple[Tensor, Tensor]:
        """The pooled regions, and those pooled without offsets, flat."""
        none = data.new_empty(0)
        still = self._pool(data, rois, none, no_trans=True)
        flat = still.flatten(1)
        if self.offset_fc is None:
            return still, flat
        offset = self.offset_fc(flat).view(-1, 2, self.out_size, self.out_size)
        return self._pool(data, rois, offset, no_trans=False), flat


class ModulatedDeformRoIPoolingPack(DeformRoIPoolingPack):
    """`DeformRoIPoolingPack` with a factor for each bin as well; it starts at a half."""

    def __init__(
        self,
        spatial_scale: float,
        out_size: int,
        out_channels: int,
        no_trans: bool,
        group_size: int = 1,
        part_size: int | None = None,
        sample_per_part: int = 4,
        trans_std: float = 0.0,
        deform_fc_channels: int = 1024,
    ) -> None:
        """Build; arguments as those of `DeformRoIPoolingPack`."""
        super().__init__(
            spatial_scale,
            out_size,
            out_channels,
            no_trans,
            group_size,
            part_size,
            sample_per_part,
            trans_std,
            deform_fc_channels,
        )
        self.mask_fc: nn.Sequential | None = None
        if not no_trans:
            self.mask_fc = nn.Sequential(*self._layers(1, hidden=1), nn.Sigmoid())

    def forward(self, data: Tensor, rois: Tensor) -> Tensor:  # type: ignore[override]
        """Map and regions (R, 5) -> (R, O, S, S)."""
        pooled, flat = self._pool_moved(data, rois)
        if self.mask_fc is None:
            return pooled
        mask: Tensor = self.mask_fc(flat)
        return pooled * mask.view(-1, 1, self.out_size, self.out_size)
