"""AdamW (Loshchilov and Hutter, 2017, arXiv:1711.05101) with the same rules for biases as SGD.

For training from scratch in few iterations, where SGD needs many.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim import AdamW

from maskrcnn_benchmark.solver.parameter_groups import parameter_groups


def make_adamw(
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    *,
    base_lr: float = 0.001,
    bias_lr_factor: float = 1.0,
    weight_decay: float = 0.01,
    weight_decay_bias: float = 0.0,
) -> AdamW:
    """Return AdamW with one group per trainable parameter; arguments as in `parameter_groups`.

    Args:
        named_parameters: as `model.named_parameters()` gives them.
        base_lr: learning rate of weights.
        bias_lr_factor: for biases.
        weight_decay: of weights, decoupled from the gradient.
        weight_decay_bias: of biases.
    """
    groups = parameter_groups(
        named_parameters,
        base_lr=base_lr,
        bias_lr_factor=bias_lr_factor,
        weight_decay=weight_decay,
        weight_decay_bias=weight_decay_bias,
    )
    return AdamW(groups, lr=base_lr)
