"""Killed with SIGKILL and started again, a run ends with the same bits."""

import subprocess
import sys

import pytest

from maskrcnn_benchmark.checkpoint.files import read_checkpoint
from maskrcnn_benchmark.engine.metric_writers import read_metrics
from tests.engine.toy_training import make_parts, run


def program(folder, *options):
    command = [sys.executable, "-W", "error", "-m", "tests.engine.toy_training", str(folder)]
    return subprocess.run(
        [*command, *map(str, options)], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def whole():
    """An uninterrupted run in this process, without workers."""
    parts = make_parts()
    run(parts, max_iteration=16)
    return parts.model.state_dict()


# Before the first checkpoint; right after one; between two; after the last.
@pytest.mark.parametrize("kills", [(3,), (5, 11), (15,)])
def test_three_lives_or_one(tmp_path, whole, kills):
    for kill in kills:
        died = program(tmp_path, "--workers", 2, "--kill-at", kill)
        assert died.returncode == -9, died.stderr
    done = program(tmp_path, "--workers", 2)
    assert done.returncode == 0, done.stderr
    weights = read_checkpoint(tmp_path / "model_final.pth")["model"]
    assert weights.keys() == whole.keys()
    assert all(weights[key].equal(value) for key, value in whole.items())
    iterations = [each["iteration"] for each in read_metrics(tmp_path / "metrics.jsonl")]
    assert iterations == [5, 10, 15, 16]


def test_ctrl_c_with_workers_saves_and_ends_with_130(tmp_path, whole):
    stopped = program(tmp_path, "--workers", 2, "--kill-at", 6, "--signal", "SIGINT")
    assert stopped.returncode == 130, stopped.stderr
    assert "SIGINT: finishing this iteration" in stopped.stderr
    assert "Stopped after iteration 6 of 16" in stopped.stdout
    done = program(tmp_path)
    assert done.returncode == 0, done.stderr
    weights = read_checkpoint(tmp_path / "model_final.pth")["model"]
    assert all(weights[key].equal(value) for key, value in whole.items())
