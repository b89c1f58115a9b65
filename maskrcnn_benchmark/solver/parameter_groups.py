"""Which learning rate and weight decay each parameter gets: Detectron's rules for biases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn


def parameter_groups(
    named_parameters: Iterable[tuple[str, nn.Parameter]],
    *,
    base_lr: float,
    bias_lr_factor: float,
    weight_decay: float,
    weight_decay_bias: float,
) -> list[dict[str, Any]]:
    """Return one optimizer group per trainable parameter, in the order given.

    Every group carries its parameter's `name`, so that a resumed run can tell whether the saved
    state belongs to it.

    Args:
        named_parameters: as `model.named_parameters()` gives them; frozen ones are left out.
        base_lr: learning rate of weights. Norm scales are weights too.
        bias_lr_factor: what it is multiplied by for parameters with "bias" in their name.
        weight_decay: of weights.
        weight_decay_bias: of biases.

    Raises:
        ValueError: if no parameter is trainable.
    """
    groups = []
    for name, parameter in named_parameters:
        if not parameter.requires_grad:
            continue
        is_bias = "bias" in name
        groups.append(
            {
                "params": [parameter],
                "lr": base_lr * bias_lr_factor if is_bias else base_lr,
                "weight_decay": weight_decay_bias if is_bias else weight_decay,
                "name": name,
            }
        )
    if not groups:
        raise ValueError("the model has no parameter with requires_grad, so nothing to optimize")
    return groups
