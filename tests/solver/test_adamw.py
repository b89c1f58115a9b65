from __future__ import annotations

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.build.solver import build_optimizer
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.solver import make_adamw


def make_layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def test_groups_follow_the_rules_for_biases() -> None:
    optimizer = make_adamw(
        make_layer().named_parameters(), base_lr=0.1, bias_lr_factor=2.0, weight_decay=0.5
    )
    groups = {
        group["name"]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups
    }
    assert groups == {"weight": (0.1, 0.5), "bias": (0.2, 0.0)}


def test_first_step_is_the_papers() -> None:
    layer = make_layer()
    before = layer.weight.detach().clone()
    optimizer = make_adamw(layer.named_parameters(), base_lr=0.1, weight_decay=0.5)
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    # Bias-corrected moments of the first step are the gradient (here 1) itself: decay, then a step of lr.
    expected = before * (1 - 0.1 * 0.5) - 0.1 * (1.0 / (1.0 + 1e-8))
    torch.testing.assert_close(layer.weight.detach(), expected)


@pytest.mark.parametrize(("name", "kind"), [("SGD", torch.optim.SGD), ("AdamW", torch.optim.AdamW)])
def test_config_names_the_optimizer(name: str, kind: type) -> None:
    cfg = get_defaults()
    cfg.SOLVER.OPTIMIZER = name
    assert type(build_optimizer(cfg, make_layer())) is kind
