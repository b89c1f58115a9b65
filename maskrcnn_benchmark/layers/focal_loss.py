"""Sigmoid focal loss (Lin et al., 2017, arXiv:1708.02002, equation 5) over padded anchors, in bounded memory.

Every anchor has one logit per class and no logit for background. With z = -x for the logit of its own class and z = x
for all others, the loss of a logit x is weight * sigmoid(z)^gamma * softplus(z): stable for any x, where the
textbook's log(1 - p) overflows on saturated logits.

B: images.    A: anchors.    C: classes without background; label 1 is column 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

# So many logits of an image at a time (4 MiB a temporary): COCO has up to 16 million of them in all.
MAX_LOGITS = 2**20


def sigmoid_focal_loss(
    logits: Tensor, labels: Tensor, *, gamma: float = 2.0, alpha: float = 0.25
) -> Tensor:
    """Sum of the focal loss over the anchors and classes of each image, in float32.

    Besides its inputs it keeps nothing for the gradient, and either way it needs no more than a few small temporaries.

    Args:
        logits: (B, A, C), of any floating type.
        labels: (B, A) integers: 0 background, 1 or more the class, below 0 not counted.
        gamma: exponent that plays down easy anchors.
        alpha: weight of an anchor's own class; 1 - alpha of all others.

    Returns:
        (B,).
    """
    result: Tensor = _FocalLoss.apply(logits, labels, gamma, alpha)
    return result


class SigmoidFocalLoss(nn.Module):
    """The old project's form: one list of anchors, one sum."""

    def __init__(self, gamma: float, alpha: float) -> None:
        """Keep the exponent and the weight, see `sigmoid_focal_loss`."""
        super().__init__()
        self.gamma = gamma
        self.alpha = alpha

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits (A, C) and labels (A) -> sum over all."""
        loss = sigmoid_focal_loss(logits[None], targets[None], gamma=self.gamma, alpha=self.alpha)
        return loss.sum()

    def extra_repr(self) -> str:
        """Gamma and alpha."""
        return f"gamma={self.gamma}, alpha={self.alpha}"


class _FocalLoss(torch.autograd.Function):
    """Value and derivative, some anchors at a time."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, gamma: float, alpha: float) -> Tensor:
        ctx.save_for_backward(logits, labels)
        ctx.gamma, ctx.alpha = gamma, alpha
        total = logits.new_zeros(logits.shape[0], dtype=torch.float32)
        for piece, own in _pieces(logits, labels):
            values = _with_own(piece.float(), own, alpha, lambda z: _value(z, gamma))
            total = total + values.sum(dim=2).mul_(own >= 0).sum(dim=1)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        logits, labels = ctx.saved_tensors
        result = torch.empty_like(logits)
        for piece, own, out in _pieces(logits, labels, result):
            # dz/dx is -1 for the own class.
            slopes = _with_own(
                piece.float(), own, alpha=ctx.alpha, sign=-1.0, apply=lambda z: _slope(z, ctx.gamma)
            )
            out.copy_(slopes.mul_((gradient[:, None] * (own >= 0))[..., None]))
        return result, None, None, None


def _pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of some anchors of logits (B, A, C) and of what goes with them."""
    rows = max(1, MAX_LOGITS // max(1, tensors[0].shape[2]))
    return zip(*(tensor.split(rows, dim=1) for tensor in tensors), strict=True)


def _with_own(
    logits: Tensor,
    labels: Tensor,
    alpha: float,
    apply: Callable[[Tensor], Tensor],
    *,
    sign: float = 1.0,
) -> Tensor:
    """A function of z for every logit (B, A, C), weighted; for an anchor's own class, where z = -x, times `sign`."""
    values = apply(logits).mul_(1 - alpha)
    column = (labels.long() - 1).clamp(min=0)[..., None]  # (B, A, 1)
    own = apply(-logits.gather(2, column)).mul_(alpha * sign)
    return values.scatter_(
        2, column, torch.where(labels[..., None] >= 1, own, values.gather(2, column))
    )


def _value(z: Tensor, gamma: float) -> Tensor:
    """sigmoid(z)^gamma * softplus(z)."""
    cost = F.softplus(z)
    # log(sigmoid(z)) = z - softplus(z), without cancellation where it matters.
    return (z - cost).mul_(gamma).exp_().mul_(cost)


def _slope(z: Tensor, gamma: float) -> Tensor:
    """The derivative of `_value`: sigmoid(z)^gamma * (gamma * sigmoid(-z) * softplus(z) + sigmoid(z))."""
    cost = F.softplus(z)
    log_p = z - cost
    p = log_p.exp()
    slope = (1 - p).mul_(cost).mul_(gamma).add_(p)
    return log_p.mul_(gamma).exp_().mul_(slope)
