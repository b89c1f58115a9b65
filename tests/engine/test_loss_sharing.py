import math

import pytest
import torch
import torch.distributed as dist

from maskrcnn_benchmark.engine.loss_sharing import check_losses, share_losses
from maskrcnn_benchmark.errors import TrainingError
from tests.engine.processes import run_ranks


def test_one_process_gets_its_own_numbers_in_their_order():
    losses = {"b": torch.tensor(2.0), "a": torch.tensor(1.5, dtype=torch.bfloat16)}
    averages, stop = share_losses(losses, stop=False)
    assert list(averages.items()) == [("b", 2.0), ("a", 1.5)]
    assert stop is False
    assert share_losses(losses, stop=True)[1] is True


def test_finite_losses_pass():
    check_losses({"a": 1.0}, own={"a": torch.tensor(1.0)}, image_ids=[1], iteration=1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_names_iteration_losses_and_images(bad):
    losses = {"loss_mask": torch.tensor(0.25), "loss_box_reg": torch.tensor(bad)}
    with pytest.raises(TrainingError) as error:
        check_losses(
            share_losses(losses, stop=False)[0],
            own=losses,
            image_ids=[7, 9],
            iteration=123,
            describe=lambda number: f"{number}.jpg",
        )
    text = str(error.value)
    assert "not finite at iteration 123" in text
    assert f"loss_mask 0.25, loss_box_reg {bad}; images 7.jpg, 9.jpg" in text
    assert "SOLVER.BASE_LR" in text


def _share(folder):
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    good = {"a": torch.tensor(1.0 + rank), "b": torch.tensor(0.0)}
    result = {"good": share_losses(good, stop=rank == 1)}
    bad = {"a": torch.tensor(1.0), "b": torch.tensor(math.nan if rank else 2.0)}
    averages, result["stop"] = share_losses(bad, stop=False)
    try:
        check_losses(averages, own=bad, image_ids=[rank * 10], iteration=5)
    except TrainingError as error:
        result["error"] = str(error)
    torch.save(result, f"{folder}/{rank}.pth")
    dist.destroy_process_group()


def test_two_processes_agree_on_everything(tmp_path):
    assert run_ranks(_share, tmp_path, folder=tmp_path) == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pth") for rank in range(2))
    assert first == second
    assert first["good"] == ({"a": 1.5, "b": 0.0}, True)
    assert first["stop"] is False
    assert "process 0: a 1, b 2; images 0\n  process 1: a 1, b nan; images 10" in first["error"]
