"""SOLVER keys -> optimizer and learning rate schedule."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.solver.adamw import make_adamw
from maskrcnn_benchmark.solver.lr_scheduler import WarmupCosineLR, WarmupMultiStepLR, WarmupSchedule
from maskrcnn_benchmark.solver.sgd import make_sgd


def build_optimizer(cfg: Config, model: nn.Module) -> Optimizer:
    """Return the optimizer that SOLVER.OPTIMIZER names, over the trainable parameters of `model`."""
    if cfg.SOLVER.OPTIMIZER == "AdamW":
        return make_adamw(
            model.named_parameters(),
            base_lr=cfg.SOLVER.BASE_LR,
            bias_lr_factor=cfg.SOLVER.BIAS_LR_FACTOR,
            weight_decay=cfg.SOLVER.WEIGHT_DECAY,
            weight_decay_bias=cfg.SOLVER.WEIGHT_DECAY_BIAS,
        )
    return make_sgd(
        model.named_parameters(),
        base_lr=cfg.SOLVER.BASE_LR,
        bias_lr_factor=cfg.SOLVER.BIAS_LR_FACTOR,
        momentum=cfg.SOLVER.MOMENTUM,
        weight_decay=cfg.SOLVER.WEIGHT_DECAY,
        weight_decay_bias=cfg.SOLVER.WEIGHT_DECAY_BIAS,
    )


def build_lr_scheduler(cfg: Config, optimizer: Optimizer) -> WarmupSchedule:
    """Return the schedule that SOLVER.LR_SCHEDULE names."""
    if cfg.SOLVER.LR_SCHEDULE == "cosine":
        return WarmupCosineLR(
            optimizer,
            max_iters=cfg.SOLVER.MAX_ITER,
            warmup_factor=cfg.SOLVER.WARMUP_FACTOR,
            warmup_iters=cfg.SOLVER.WARMUP_ITERS,
            warmup_method=cfg.SOLVER.WARMUP_METHOD,
        )
    return WarmupMultiStepLR(
        optimizer,
        cfg.SOLVER.STEPS,
        gamma=cfg.SOLVER.GAMMA,
        warmup_factor=cfg.SOLVER.WARMUP_FACTOR,
        warmup_iters=cfg.SOLVER.WARMUP_ITERS,
        warmup_method=cfg.SOLVER.WARMUP_METHOD,
    )
