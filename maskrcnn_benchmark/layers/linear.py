"""Linear layers in float32 on a CPU, by the library that does the convolutions (oneDNN).

torch gives float32 matrix products to MKL, which takes a slower path on processors that are not Intel's. Measured on an
AMD EPYC with AVX-512: the first layer of the box head on 1000 regions takes 254 ms of processor time by MKL and 112 ms
by oneDNN; its two gradients 540 and 280 ms. Both sum in float32; results differ in the last bits.

R: rows.    I, O: features in and out.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

# Below so many multiplications the way there costs more than the product.
_MIN_PRODUCTS = 2**24


class Linear(nn.Linear):
    """`nn.Linear`, the same weights and numbers, faster on some processors (`multiply`)."""

    def forward(self, input: Tensor) -> Tensor:
        """(R, I) -> (R, O); any other shape as in torch."""
        return multiply(input, self.weight, self.bias)


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Rows (R, I) by weights (O, I), transposed, plus bias (O,): (R, O), as `F.linear`."""
    if not _is_for_onednn(x, weight):
        return F.linear(x, weight, bias)
    result: Tensor = _OneDNNLinear.apply(x, weight, bias)
    return result


class _OneDNNLinear(torch.autograd.Function):
    """Product and gradients; torch has no derivative of oneDNN's operator."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _multiply(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            _multiply(grad, weight.t(), None) if for_x else None,
            _multiply(grad.t(), x.t(), None) if for_weight else None,
            grad.sum(dim=0) if for_bias else None,
        )


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(R, I) and (O, I) -> (R, O)."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return result


def _is_for_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether both are large, plain float32 matrices on a CPU that has it, in eager mode."""
    # Whoever watches operators, to count or to trace them, knows torch's.
    if torch.compiler.is_compiling() or is_in_torch_dispatch_mode():
        return False
    if x.dim() != 2 or x.device.type != "cpu":
        return False
    if (
        x.dtype != torch.float32
        or weight.dtype != torch.float32
        or torch.is_autocast_enabled("cpu")
    ):
        return False
    return x.shape[0] * weight.numel() >= _MIN_PRODUCTS and _has_onednn()


@cache
def _has_onednn() -> bool:
    """Whether torch was built with it, for a processor it is fast on."""
    known = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return known and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
