import pytest
import torch

from maskrcnn_benchmark.data.loader import make_test_loader
from maskrcnn_benchmark.engine.validation import validation_losses
from maskrcnn_benchmark.utils.comm import get_rank
from tests.engine.processes import run_ranks
from tests.engine.toy_training import Net, Scenes


def losses(model, *, number=12, **settings):
    loader = make_test_loader(Scenes(number), images_per_batch=4, size_divisible=4, **settings)
    return validation_losses(model, loader, device=torch.device("cpu"))


def test_losses_are_averaged_and_nothing_of_the_model_changes():
    model = Net().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    meters = losses(model)
    assert list(meters.meters) == ["loss", "loss_box", "loss_norm"]
    assert meters.loss.count == 3
    assert meters.loss.global_avg == pytest.approx(
        meters.loss_box.global_avg + meters.loss_norm.global_avg
    )
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.norm.training
    assert model.training


def test_an_evaluating_model_stays_one():
    model = Net().eval()
    losses(model)
    assert not model.training
    assert not model.norm.training


def _validate(folder):
    torch.distributed.init_process_group("gloo")
    torch.manual_seed(0)
    # Nine images in pairs: three batches for the one process, two for the other.
    meters = losses(Net(), number=9, rank=get_rank(), world_size=2)
    torch.save((meters.loss.count, meters.loss.global_avg), folder / f"{get_rank()}.pth")
    torch.distributed.destroy_process_group()


def test_two_processes_with_different_numbers_of_batches_agree(tmp_path):
    assert run_ranks(_validate, tmp_path, folder=tmp_path) == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pth") for rank in range(2))
    assert first == second
    assert first[0] == 2
