"""Two real processes (gloo) under the variables that torchrun sets."""

import re
import signal
from functools import partial

import pytest
import torch

from maskrcnn_benchmark.checkpoint.files import read_checkpoint
from maskrcnn_benchmark.engine.distributed import distribute, process_group, wanted_world_size
from maskrcnn_benchmark.errors import ConfigError
from tests.engine.processes import run_ranks
from tests.engine.toy_training import train

CPU = torch.device("cpu")


def test_one_process_needs_no_group(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert wanted_world_size() == 1
    with process_group(CPU) as place:
        assert (place.rank, place.local_rank, place.world_size) == (0, 0, 1)
        assert place.device == CPU
        assert not torch.distributed.is_initialized()
        model = torch.nn.Linear(1, 1)
        assert distribute(model, place) is model


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(ConfigError, match="needs a GPU of its own, there are 1"),
        process_group(torch.device("cuda"), local_rank=1),
    ):
        pass


def _average_gradients(folder):
    with process_group(CPU) as place:
        torch.manual_seed(place.rank)
        model = distribute(torch.nn.Linear(1, 1), place)
        model(torch.tensor([[place.rank + 1.0]])).sum().backward()
        result = {
            "weight": model.module.weight.detach(),
            "gradient": model.module.weight.grad,
            "place": (place.rank, place.local_rank, place.world_size),
        }
        torch.save(result, folder / f"{place.rank}.pth")
    assert not torch.distributed.is_initialized()


def test_weights_start_equal_and_gradients_are_averaged(tmp_path):
    assert run_ranks(_average_gradients, tmp_path, folder=tmp_path) == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pth") for rank in range(2))
    assert torch.equal(first["weight"], second["weight"])
    assert first["gradient"] == second["gradient"] == 1.5
    assert (first["place"], second["place"]) == ((0, 0, 2), (1, 1, 2))


def test_two_processes_train_and_only_the_first_writes(tmp_path):
    assert run_ranks(partial(train, tmp_path, max_iteration=5), folder=tmp_path) == [0, 0]
    log = (tmp_path / "log.txt").read_text()
    assert log.count("Start training") == log.count("iter: 5") == 1
    data = read_checkpoint(tmp_path / "model_final.pth")
    assert data["iteration"] == 5
    assert not any(key.startswith("module.") for key in data["model"])


def test_an_error_in_one_process_ends_the_other_one_soon(tmp_path):
    # Else `run_ranks` raises.
    codes = run_ranks(
        partial(train, tmp_path, max_iteration=5, error_at=3, only_rank=1), folder=tmp_path
    )
    assert codes == [1, 1]
    assert "a made-up error" in (tmp_path / "error1.txt").read_text()
    other = (tmp_path / "error0.txt").read_text().splitlines()[-1]
    assert re.search("TrainingError: process 0 lost the connection to another process", other)


def test_a_kill_of_one_process_ends_the_other_one_soon(tmp_path):
    codes = run_ranks(
        partial(train, tmp_path, max_iteration=5, kill_at=3, only_rank=0), folder=tmp_path
    )
    assert codes == [-9, 1]
    assert "lost the connection" in (tmp_path / "error1.txt").read_text()


def test_a_bad_loss_in_one_process_stops_both_with_the_same_words(tmp_path):
    codes = run_ranks(
        partial(train, tmp_path, max_iteration=5, nan_at=3, only_rank=1), folder=tmp_path
    )
    assert codes == [1, 1]
    texts = [(tmp_path / f"error{rank}.txt").read_text() for rank in range(2)]
    assert "not finite at iteration 3" in texts[0]
    assert texts[0].split("TrainingError")[-1] == texts[1].split("TrainingError")[-1]


def test_a_signal_to_one_process_stops_both_after_the_same_iteration(tmp_path):
    codes = run_ranks(
        partial(train, tmp_path, max_iteration=9, kill_at=3, kill_with=signal.SIGTERM, only_rank=1),
        folder=tmp_path,
    )
    assert codes == [130, 130]
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "model_0000003.pth")
