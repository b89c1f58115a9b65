import pytest
import torch
from torch import nn

from maskrcnn_benchmark.checkpoint.optimizer_state import restore_optimizer
from maskrcnn_benchmark.errors import CheckpointError
from maskrcnn_benchmark.solver import make_adamw, make_sgd


def make(sizes=(3, 2), kind=make_sgd, **settings):
    torch.manual_seed(1)
    model = nn.Sequential(*(nn.Linear(size, size) for size in sizes))
    return model, kind(model.named_parameters(), base_lr=0.1, **settings)


def update(model, optimizer):
    for number, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, 0.1 * (number + 1))
    optimizer.step()


@pytest.mark.parametrize("kind", [make_sgd, make_adamw])
def test_the_memory_goes_on_exactly(kind):
    model, optimizer = make(kind=kind)
    update(model, optimizer)
    saved, weights = optimizer.state_dict(), model.state_dict()
    saved = torch.utils._pytree.tree_map(lambda v: v.clone() if torch.is_tensor(v) else v, saved)
    weights = {key: value.clone() for key, value in weights.items()}
    update(model, optimizer)

    other, restored = make(kind=kind)
    other.load_state_dict(weights)
    restore_optimizer(restored, saved, source="x.pth")
    update(other, restored)
    for key, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])


def test_learning_rates_come_back_and_other_settings_are_this_runs(caplog):
    model, optimizer = make(momentum=0.9)
    update(model, optimizer)
    for group in optimizer.param_groups:
        group["lr"] *= 0.1
    _, restored = make(momentum=0.5)
    restore_optimizer(restored, optimizer.state_dict(), source="x.pth")
    assert restored.param_groups[0]["lr"] == pytest.approx(0.01)
    assert restored.param_groups[0]["momentum"] == 0.5
    assert "momentum was 0.9, is 0.5 now (which is used)" in caplog.text
    assert len(caplog.records) == 1


def test_groups_of_the_old_project_have_no_names():
    model, optimizer = make()
    update(model, optimizer)
    saved = optimizer.state_dict()
    for group in saved["param_groups"]:
        del group["name"]
        for key in ("maximize", "foreach", "differentiable", "fused"):
            group.pop(key, None)
    _, restored = make()
    restore_optimizer(restored, saved, source="x.pth")
    buffer = restored.state[restored.param_groups[0]["params"][0]]["momentum_buffer"]
    assert torch.equal(buffer, saved["state"][0]["momentum_buffer"])


@pytest.mark.parametrize(
    ("sizes", "message"),
    [((3,), "4 groups of parameters, this run's has 2"), ((2, 3), r"0\.weight has shape \(3, 3\)")],
)
def test_the_memory_of_other_parameters_is_refused(sizes, message):
    model, optimizer = make((3, 2))
    update(model, optimizer)
    _, other = make(sizes)
    with pytest.raises(CheckpointError, match=message):
        restore_optimizer(other, optimizer.state_dict(), source="x.pth")


def test_names_tell_parameters_apart():
    model, optimizer = make((2, 2))
    update(model, optimizer)
    saved = optimizer.state_dict()
    saved["param_groups"].reverse()
    _, other = make((2, 2))
    with pytest.raises(CheckpointError, match=r"has 1\.bias where this run's has 0\.weight"):
        restore_optimizer(other, saved, source="x.pth")


@pytest.mark.parametrize(("before", "now"), [(make_sgd, make_adamw), (make_adamw, make_sgd)])
def test_the_memory_of_another_kind_is_refused(before, now):
    model, optimizer = make(kind=before)
    update(model, optimizer)
    _, other = make(kind=now)
    with pytest.raises(CheckpointError, match=f"than {type(other).__name__};"):
        restore_optimizer(other, optimizer.state_dict(), source="x.pth")
