"""The optimizer's memory (momentum and the like), given back to the parameters it belongs to."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from maskrcnn_benchmark.errors import CheckpointError

logger = logging.getLogger(__name__)

# The position of the run; all else in a group is set by the configuration of this run.
_POSITION = ("lr",)
# Settings that only one kind of optimizer has: SGD, Adam.
_KINDS = ("momentum", "betas")


def restore_optimizer(optimizer: Optimizer, saved: Mapping[str, Any], *, source: str) -> None:
    """Restore the state of each parameter and the learning rates.

    Settings such as momentum and weight decay stay what this run's configuration says; changes are logged.

    Args:
        optimizer: over the same parameters in the same groups as the saved one.
        saved: what `optimizer.state_dict()` gave.
        source: the file, for messages.

    Raises:
        CheckpointError: if the saved state is of other parameters.
    """
    own = optimizer.state_dict()
    _check(optimizer, saved, source=source)
    groups = []
    changed: dict[str, tuple[Any, Any]] = {}
    for now, before in zip(own["param_groups"], saved["param_groups"], strict=True):
        position = {key: before[key] for key in _POSITION if key in before}
        # `params` holds the saved numbering, which the saved `state` is keyed by.
        groups.append({**now, **position, "params": before["params"]})
        for key in now.keys() & before.keys() - {"params", "name", "initial_lr", *_POSITION}:
            if now[key] != before[key]:
                changed[key] = (before[key], now[key])
    for key, (before_value, now_value) in changed.items():
        logger.warning(
            "The optimizer has changed since the checkpoint: %s was %s, is %s now (which is used)",
            key,
            before_value,
            now_value,
        )
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})


def _check(optimizer: Optimizer, saved: Mapping[str, Any], *, source: str) -> None:
    groups = optimizer.param_groups
    cure = "resume with the configuration it was trained with, or start in another OUTPUT_DIR"
    if len(saved["param_groups"]) != len(groups):
        raise CheckpointError(
            f"{source}: its optimizer has {len(saved['param_groups'])} groups of parameters, this "
            f"run's has {len(groups)} (other layers are frozen?); {cure}"
        )
    for number, (group, before) in enumerate(zip(groups, saved["param_groups"], strict=True)):
        name = group.get("name", f"group {number}")
        if before.get("name", name) != name or len(before["params"]) != len(group["params"]):
            raise CheckpointError(
                f"{source}: its optimizer has {before.get('name', 'other parameters')} where this "
                f"run's has {name}; {cure}"
            )
        if any((key in group) != (key in before) for key in _KINDS):
            raise CheckpointError(
                f"{source}: it was trained with another kind of optimizer than "
                f"{type(optimizer).__name__}; {cure}"
            )
        for key, parameter in zip(before["params"], group["params"], strict=True):
            for what, value in saved["state"].get(key, {}).items():
                if isinstance(value, Tensor) and value.ndim and value.shape != parameter.shape:
                    raise CheckpointError(
                        f"{source}: the {what} saved for {name} has shape {tuple(value.shape)}, the "
                        f"parameter has {tuple(parameter.shape)}; {cure}"
                    )
