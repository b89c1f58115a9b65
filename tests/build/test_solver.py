import pytest
from torch import nn

from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.solver import (
    WarmupCosineLR,
    WarmupMultiStepLR,
    make_lr_scheduler,
    make_optimizer,
)


@pytest.fixture
def cfg():
    cfg = get_defaults()
    cfg.merge_from_list(
        [
            "SOLVER.BASE_LR", "0.02", "SOLVER.WEIGHT_DECAY", "0.0001", "SOLVER.MOMENTUM", "0.8",
            "SOLVER.MAX_ITER", "9", "SOLVER.STEPS", "(5, 8)", "SOLVER.WARMUP_ITERS", "3",
        ]
    )  # fmt: skip
    return cfg


def test_keys_reach_the_optimizer(cfg):
    weight, bias = make_optimizer(cfg, nn.Linear(2, 2)).param_groups
    assert (weight["lr"], weight["weight_decay"], weight["momentum"]) == (0.02, 0.0001, 0.8)
    assert (bias["lr"], bias["weight_decay"], bias["momentum"]) == (0.04, 0, 0.8)


def test_keys_reach_the_schedule(cfg):
    optimizer = make_optimizer(cfg, nn.Linear(2, 2))
    scheduler = make_lr_scheduler(cfg, optimizer)
    assert type(scheduler) is WarmupMultiStepLR
    rates = []
    for _ in range(9):
        rates.append(round(optimizer.param_groups[0]["lr"], 6))
        scheduler.step()
    assert rates == [0.006667, 0.011111, 0.015556, 0.02, 0.02, 0.002, 0.002, 0.002, 0.0002]


def test_cosine_ends_at_max_iter(cfg):
    cfg.SOLVER.LR_SCHEDULE = "cosine"
    cfg.SOLVER.WARMUP_METHOD = "constant"
    cfg.SOLVER.WARMUP_FACTOR = 0.5
    scheduler = make_lr_scheduler(cfg, make_optimizer(cfg, nn.Linear(2, 2)))
    assert type(scheduler) is WarmupCosineLR
    assert scheduler.decay(9) == 0
    assert (scheduler.warmup(2), scheduler.warmup(3)) == (0.5, 1)
