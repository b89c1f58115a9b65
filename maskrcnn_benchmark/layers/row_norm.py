"""Batch norm over the real rows of a padded batch of regions.

Where shapes are fixed (compiled, on a GPU) heads compute padding rows as well. In most layers these are lost work and
no more; a batch norm in training would count them into its mean and variance.

R: rows, of which some are padding.    C: channels.
"""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class TakesRows(nn.Module):
    """A module whose `forward` takes (x, valid): the values (R, C, ...) and which rows are real (R,), or None."""


def run_rows(module: nn.Module, x: Tensor, valid: Tensor | None) -> Tensor:
    """`module(x)`, in which batch norms count the valid rows only.

    Looks into `nn.Sequential` and `TakesRows`; batch norms inside of other modules count all rows.

    Args:
        module: maps (R, C, ...) to (R, C', ...), each row by itself.
        x: (R, C, ...).
        valid: (R,) bool; None if all rows are real.
    """
    if valid is not None:
        if isinstance(module, _BatchNorm):
            return norm_rows(module, x, valid)
        if isinstance(module, nn.Sequential):
            for part in module:
                x = run_rows(part, x, valid)
            return x
        if isinstance(module, TakesRows):
            result: Tensor = module(x, valid)
            return result
    result = module(x)
    return result


def norm_rows(norm: nn.Module, x: Tensor, valid: Tensor | None) -> Tensor:
    """`norm(x)`; a batch norm in training counts the valid rows only, those of all processes for SyncBN.

    Args:
        norm: any norm over channels.
        x: (R, C, ...).
        valid: (R,) bool; None if all rows are real.
    """
    if valid is None or not isinstance(norm, _BatchNorm) or not norm.training:
        result: Tensor = norm(x)
        return result
    shape = (1, -1, *[1] * (x.dim() - 2))
    others = [0, *range(2, x.dim())]
    values = x.float()
    mask = valid.view(-1, *[1] * (x.dim() - 1)).to(values.dtype)
    count = _total(norm, mask.sum() * math.prod(x.shape[2:]))
    mean = _total(norm, (values * mask).sum(others)) / count.clamp(min=1)
    centred = values - mean.view(shape)
    variance = _total(norm, (centred.square() * mask).sum(others)) / count.clamp(min=1)
    if norm.track_running_stats:
        _follow(norm, mean.detach(), variance.detach(), count)
    scale = (variance + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight
    out = centred * scale.view(shape)
    return (out + norm.bias.view(shape) if norm.affine else out).to(x.dtype)


def _total(norm: nn.Module, value: Tensor) -> Tensor:
    """The sum over all processes, for SyncBN."""
    if not isinstance(norm, nn.SyncBatchNorm) or not dist.is_initialized():
        return value
    from torch.distributed.nn.functional import all_reduce

    result: Tensor = all_reduce(value, group=norm.process_group or dist.group.WORLD)
    return result


def _follow(norm: _BatchNorm, mean: Tensor, variance: Tensor, count: Tensor) -> None:
    """Move the running statistics as torch does, not at all where no row is real."""
    running_mean, running_var, steps = norm.running_mean, norm.running_var, norm.num_batches_tracked
    assert running_mean is not None
    assert running_var is not None
    assert steps is not None
    some = (count > 0).to(mean.dtype)
    with torch.no_grad():
        steps.add_((count > 0).to(steps.dtype))
        # A momentum of None is the mean over all steps so far.
        share = some * (1.0 / steps.clamp(min=1) if norm.momentum is None else norm.momentum)
        unbiased = variance * count / (count - 1).clamp(min=1)
        running_mean.add_(share * (mean - running_mean))
        running_var.add_(share * (unbiased - running_var))
