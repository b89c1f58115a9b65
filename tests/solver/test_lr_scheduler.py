import logging
import math

import pytest
from torch import nn

from maskrcnn_benchmark.solver import WarmupCosineLR, WarmupMultiStepLR, make_sgd


def make_optimizer(base_lr=0.02):
    return make_sgd(nn.Linear(1, 1).named_parameters(), base_lr=base_lr)


def rates(optimizer, scheduler, number):
    found = []
    for _ in range(number):
        found.append(optimizer.param_groups[0]["lr"])
        scheduler.step()
    return found


def test_the_numbers_of_the_old_project():
    optimizer = make_optimizer()
    scheduler = WarmupMultiStepLR(optimizer, (5, 8), 0.1, 1 / 3, 3, "linear")
    expected = [0.006667, 0.011111, 0.015556, 0.02, 0.02, 0.002, 0.002, 0.002, 0.0002]
    assert [round(rate, 6) for rate in rates(optimizer, scheduler, 9)] == expected


def test_constant_warm_up_ends_in_a_step():
    optimizer = make_optimizer()
    scheduler = WarmupMultiStepLR(
        optimizer, [], warmup_factor=0.5, warmup_iters=2, warmup_method="constant"
    )
    assert rates(optimizer, scheduler, 4) == [0.01, 0.01, 0.02, 0.02]


def test_no_warm_up():
    optimizer = make_optimizer()
    assert rates(optimizer, WarmupMultiStepLR(optimizer, (2,), warmup_iters=0), 3) == [
        0.02,
        0.02,
        pytest.approx(0.002),
    ]


def test_every_group_keeps_its_ratio():
    optimizer = make_optimizer()
    scheduler = WarmupMultiStepLR(optimizer, (5,), warmup_iters=3)
    for _ in range(7):
        weight, bias = (group["lr"] for group in optimizer.param_groups)
        assert bias == pytest.approx(2 * weight)
        assert scheduler.get_last_lr() == [weight, bias]
        scheduler.step()


def test_cosine_has_the_same_warm_up_and_ends_at_zero():
    optimizer = make_optimizer(1.0)
    scheduler = WarmupCosineLR(optimizer, max_iters=10, warmup_factor=0.1, warmup_iters=2)
    found = rates(optimizer, scheduler, 11)
    warm = [0.1, 0.55] + [1.0] * 9
    expected = [w * 0.5 * (1 + math.cos(math.pi * it / 10)) for it, w in enumerate(warm)]
    assert found == pytest.approx(expected)
    assert found[10] == 0
    assert scheduler.decay(11) == 0


@pytest.mark.parametrize("done", [1, 2, 4, 6])
def test_a_restored_schedule_goes_on_exactly(done):
    def make():
        optimizer = make_optimizer()
        return optimizer, WarmupMultiStepLR(optimizer, (3, 5), warmup_iters=3)

    whole = rates(*make(), 8)
    optimizer, scheduler = make()
    rates(optimizer, scheduler, done)
    state = scheduler.state_dict()
    assert all(isinstance(value, (int, float, str, list)) for value in state.values()), (
        "plain data only"
    )

    optimizer, scheduler = make()
    scheduler.load_state_dict(state)
    assert rates(optimizer, scheduler, 8 - done) == whole[done:]


def test_the_shape_of_the_schedule_is_this_runs_and_changes_are_logged(caplog):
    state = WarmupMultiStepLR(make_optimizer(), (5,), warmup_iters=0).state_dict()
    state["last_epoch"] = 4
    optimizer = make_optimizer(0.01)
    scheduler = WarmupMultiStepLR(optimizer, (3,), warmup_iters=0)
    with caplog.at_level(logging.WARNING):
        scheduler.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.001)
    assert "milestones was [5], is [3] now" in caplog.text
    assert "base_lrs was [0.02, 0.04], is [0.01, 0.02] now" in caplog.text


def test_the_state_of_the_old_project_is_accepted(caplog):
    # What torch's base class saved in 2019: every attribute but the optimizer, tuples included.
    state = {
        "milestones": (60000, 80000),
        "gamma": 0.1,
        "warmup_factor": 1 / 3,
        "warmup_iters": 500,
        "warmup_method": "linear",
        "base_lrs": [0.02, 0.04],
        "last_epoch": 70000,
        "_step_count": 70001,
    }
    optimizer = make_optimizer()
    WarmupMultiStepLR(optimizer, [60000, 80000]).load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.002)
    assert caplog.text == ""


def test_a_first_update_that_was_skipped_is_no_warning():
    # float16 training skips updates whose gradients overflow, often the first one.
    scheduler = WarmupMultiStepLR(make_optimizer(), ())
    scheduler.step()


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"increasing iterations, got \[5, 3\]"):
        WarmupMultiStepLR(make_optimizer(), (5, 3))
    with pytest.raises(ValueError, match="constant, linear, got 'cubic'"):
        WarmupMultiStepLR(make_optimizer(), (), warmup_method="cubic")
    with pytest.raises(ValueError, match="got 0"):
        WarmupCosineLR(make_optimizer(), max_iters=0)


def test_it_can_start_in_the_middle_as_torch_schedules_do():
    optimizer = make_optimizer()
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    WarmupMultiStepLR(optimizer, (3,), warmup_iters=0, last_epoch=2)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.002)
