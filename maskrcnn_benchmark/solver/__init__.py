"""How weights move: the optimizer and the learning rate over time.

`make_optimizer(cfg, model)` and `make_lr_scheduler(cfg, optimizer)` are the old entry points; they
call `build/solver.py`, which alone knows the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskrcnn_benchmark.solver.adamw import make_adamw
from maskrcnn_benchmark.solver.lr_scheduler import WarmupCosineLR, WarmupMultiStepLR, WarmupSchedule
from maskrcnn_benchmark.solver.sgd import make_sgd

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

__all__ = [
    "WarmupCosineLR",
    "WarmupMultiStepLR",
    "WarmupSchedule",
    "make_adamw",
    "make_lr_scheduler",
    "make_optimizer",
    "make_sgd",
]


def make_optimizer(cfg: Any, model: nn.Module) -> Optimizer:
    """Return the optimizer that a configuration describes."""
    from maskrcnn_benchmark.build.solver import build_optimizer

    return build_optimizer(cfg, model)


def make_lr_scheduler(cfg: Any, optimizer: Optimizer) -> WarmupSchedule:
    """Return the learning rate schedule that a configuration describes."""
    from maskrcnn_benchmark.build.solver import build_lr_scheduler

    return build_lr_scheduler(cfg, optimizer)
