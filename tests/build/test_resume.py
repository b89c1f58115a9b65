"""A real run, killed with SIGKILL at random iterations, ends with the weights it would have had."""

import random
from functools import partial

import pytest
import torch

from maskrcnn_benchmark.checkpoint.files import read_checkpoint
from maskrcnn_benchmark.engine.metric_writers import read_metrics
from tests.build.toy_run import train
from tests.engine.processes import run_in_process

ITERATIONS = 14


def live(folder, **happening):
    """Start the run with two loader workers (flips are on); return the exit code."""
    return run_in_process(
        partial(train, folder, DATALOADER__NUM_WORKERS=2, **happening), log=folder / "error.txt"
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    assert live(folder) == 0, (folder / "error.txt").read_text()
    return folder / "run"


def test_three_kills_change_nothing(tmp_path, whole):
    for kill in sorted(random.Random().sample(range(2, ITERATIONS + 1), 3)):
        print("killed at", kill)
        assert live(tmp_path, kill_at=kill) == -9
    assert live(tmp_path) == 0, (tmp_path / "error.txt").read_text()

    data, expected = (
        read_checkpoint(folder / "model_final.pth") for folder in (tmp_path / "run", whole)
    )
    assert data["model"].keys() == expected["model"].keys()
    for key, value in expected["model"].items():
        assert torch.equal(data["model"][key], value), key
    momenta, others = (each["optimizer"]["state"] for each in (data, expected))
    for number, state in others.items():
        assert torch.equal(momenta[number]["momentum_buffer"], state["momentum_buffer"])
    assert data["scheduler"] == expected["scheduler"]


def test_the_records_are_those_of_an_uninterrupted_run(tmp_path, whole):
    assert live(tmp_path, kill_at=11) == -9
    assert live(tmp_path) == 0
    ours, expected = (
        read_metrics(folder / "metrics.jsonl") for folder in (tmp_path / "run", whole)
    )
    assert [each["iteration"] for each in ours] == [5, 10, 14]
    assert [each["iteration"] for each in expected] == [5, 10, 14]


def test_the_number_of_workers_changes_nothing(tmp_path, whole):
    train(tmp_path, DATALOADER__NUM_WORKERS=0)
    ours, expected = (
        read_checkpoint(folder / "model_final.pth")["model"] for folder in (tmp_path / "run", whole)
    )
    assert all(torch.equal(ours[key], value) for key, value in expected.items())
