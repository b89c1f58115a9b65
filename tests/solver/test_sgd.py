import pytest
import torch
from torch import nn

from maskrcnn_benchmark.solver import make_sgd


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)
        self.bn = nn.BatchNorm2d(2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def test_each_trainable_parameter_has_a_group_with_its_own_rule():
    optimizer = make_sgd(
        Network().named_parameters(),
        base_lr=0.02,
        bias_lr_factor=2,
        momentum=0.9,
        weight_decay=1e-4,
        weight_decay_bias=0,
    )
    rules = {
        group["name"]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups
    }
    assert rules == {
        "conv.weight": (0.02, 1e-4),
        "conv.bias": (0.04, 0),
        "bn.weight": (0.02, 1e-4),
        "bn.bias": (0.04, 0),
    }
    assert {group["momentum"] for group in optimizer.param_groups} == {0.9}
    assert all(len(group["params"]) == 1 for group in optimizer.param_groups)


def test_an_update_is_what_the_formula_says():
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = make_sgd([("w", weight)], base_lr=0.1, momentum=0.5, weight_decay=0.01)
    value, velocity = 2.0, 0.0
    for gradient in (1.0, -3.0):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        velocity = 0.5 * velocity + gradient + 0.01 * value
        value -= 0.1 * velocity
        assert weight.item() == pytest.approx(value, rel=1e-6)


def test_nothing_to_train_is_an_error():
    with pytest.raises(ValueError, match="requires_grad"):
        make_sgd(nn.Linear(1, 1).requires_grad_(False).named_parameters())
