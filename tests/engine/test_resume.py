"""Killed with SIGKILL and started again, a run ends with the same bits."""

import signal
from functools import partial

import pytest

from maskrcnn_benchmark.checkpoint.files import read_checkpoint
from maskrcnn_benchmark.engine.metric_writers import read_metrics
from tests.engine.processes import run_in_process
from tests.engine.toy_training import make_parts, run, train


def live(folder, **happening):
    """Start the run with two loader workers; return the exit code."""
    return run_in_process(partial(train, folder, workers=2, **happening), log=folder / "error.txt")


@pytest.fixture(scope="module")
def whole():
    """An uninterrupted run in this process, without workers."""
    parts = make_parts()
    run(parts, max_iteration=16)
    return parts.model.state_dict()


def same_weights(folder, whole):
    weights = read_checkpoint(folder / "model_final.pth")["model"]
    return weights.keys() == whole.keys() and all(
        weights[key].equal(value) for key, value in whole.items()
    )


# Before the first checkpoint; right after one and between two; after the last.
@pytest.mark.parametrize("kills", [(3,), (5, 11), (15,)])
def test_three_lives_or_one(tmp_path, whole, kills):
    for kill in kills:
        assert live(tmp_path, kill_at=kill) == -9
    assert live(tmp_path) == 0
    assert same_weights(tmp_path, whole)
    iterations = [each["iteration"] for each in read_metrics(tmp_path / "metrics.jsonl")]
    assert iterations == [5, 10, 15, 16]


def test_ctrl_c_with_workers_saves_and_ends_with_130(tmp_path, whole):
    assert live(tmp_path, kill_at=6, kill_with=signal.SIGINT) == 130
    assert "Stopped after iteration 6 of 16" in (tmp_path / "log.txt").read_text()
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "model_0000006.pth")
    assert live(tmp_path) == 0
    assert same_weights(tmp_path, whole)


def test_a_signal_to_the_whole_job_saves_all_the_same(tmp_path, whole):
    """As `timeout` and schedulers send it: the loader workers die at once."""
    assert live(tmp_path, kill_at=6, kill_with=signal.SIGTERM, to_all=True) == 130
    assert "Stopped after iteration 6 of 16" in (tmp_path / "log.txt").read_text()
    assert live(tmp_path) == 0
    assert same_weights(tmp_path, whole)
