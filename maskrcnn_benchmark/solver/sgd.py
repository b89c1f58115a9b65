"""Stochastic gradient descent with Detectron's rules for biases."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim import SGD

from maskrcnn_benchmark.solver.parameter_groups import parameter_groups


def make_sgd(
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    *,
    base_lr: float = 0.001,
    bias_lr_factor: float = 2.0,
    momentum: float = 0.9,
    weight_decay: float = 0.0005,
    weight_decay_bias: float = 0.0,
) -> SGD:
    """Return SGD with one group per trainable parameter; arguments as in `parameter_groups`.

    Args:
        named_parameters: as `model.named_parameters()` gives them.
        base_lr: learning rate of weights.
        bias_lr_factor: for biases.
        momentum: of all parameters.
        weight_decay: of weights.
        weight_decay_bias: of biases.
    """
    groups = parameter_groups(
        named_parameters,
        base_lr=base_lr,
        bias_lr_factor=bias_lr_factor,
        weight_decay=weight_decay,
        weight_decay_bias=weight_decay_bias,
    )
    return SGD(groups, lr=base_lr, momentum=momentum)
