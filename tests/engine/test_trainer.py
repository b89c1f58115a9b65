"""The training loop in this process; kills and several processes are in files of their own."""

import logging
import os
import signal
from types import SimpleNamespace

import pytest
import torch

from maskrcnn_benchmark.checkpoint.files import read_checkpoint
from maskrcnn_benchmark.engine.metric_writers import JsonLinesWriter, read_metrics
from maskrcnn_benchmark.engine.trainer import Periods, do_train, reduce_loss_dict
from maskrcnn_benchmark.errors import TrainingError
from maskrcnn_benchmark.utils import interrupt
from tests.engine.toy_training import make_loader, make_parts, run


def same(first, second):
    one, other = first.state_dict(), second.state_dict()
    return all(torch.equal(one[key], other[key]) for key in one)


def test_checkpoints_appear_when_they_are_due(tmp_path):
    parts = make_parts(tmp_path)
    run(parts, max_iteration=10, checkpoint_data={"seed": 3})
    assert sorted(os.listdir(tmp_path)) == [
        "last_checkpoint",
        "model_0000004.pth",
        "model_0000008.pth",
        "model_final.pth",
    ]
    for name, iteration in (("model_0000008", 8), ("model_final", 10)):
        data = read_checkpoint(tmp_path / f"{name}.pth")
        assert (data["iteration"], data["seed"]) == (iteration, 3)
        assert data["scheduler"]["last_epoch"] == iteration
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "model_final.pth")


def test_lines_and_records_appear_when_they_are_due(tmp_path, caplog):
    writer = JsonLinesWriter(tmp_path)
    with caplog.at_level(logging.INFO):
        run(make_parts(), max_iteration=12, writers=[writer])
    writer.close()
    lines = [text for text in caplog.messages if text.startswith("eta")]
    assert [line.split("iter: ")[1].split()[0] for line in lines] == ["5", "10", "12"]
    assert "eta: 0:00:00  iter: 12" in lines[-1]
    assert caplog.messages[0] == "Start training"
    assert caplog.messages[-1].startswith("Total training time: 0:00:")
    records = read_metrics(tmp_path / "metrics.jsonl")
    assert [each["iteration"] for each in records] == [5, 10, 12]


def test_the_logged_learning_rate_is_the_next_one(tmp_path):
    """The old log showed the rate after the schedule's step; 12 is a milestone."""
    writer = JsonLinesWriter(tmp_path)
    run(make_parts(), max_iteration=12, writers=[writer], periods=Periods(log=11))
    writer.close()
    rates = [each["lr"] for each in read_metrics(tmp_path / "metrics.jsonl")]
    assert rates == pytest.approx([0.05, 0.005])


def test_the_loss_falls():
    parts = make_parts()
    kept = []
    run(
        parts,
        max_iteration=60,
        writers=[SimpleNamespace(write=kept.append)],
        periods=Periods(log=20),
    )
    assert kept[-1]["loss"] < 0.5 * kept[0]["loss"]


def test_a_run_in_two_parts_is_the_run_in_one(tmp_path):
    whole = make_parts()
    run(whole, max_iteration=14)

    first = make_parts(tmp_path)
    run(first, max_iteration=6)
    second = make_parts(tmp_path, seed=99)
    start = second.load()["iteration"]
    run(second, max_iteration=14, start_iteration=start)
    assert start == 6
    assert same(whole.model, second.model)


def test_without_a_seed_the_generator_is_left_alone():
    torch.manual_seed(7)
    run(make_parts(), max_iteration=3, seed=None)
    first = torch.rand(1)
    torch.manual_seed(7)
    run(make_parts(), max_iteration=3, seed=None)
    assert torch.equal(torch.rand(1), first)


def test_nothing_is_left_to_do_after_the_last_iteration(tmp_path, caplog):
    parts = make_parts(tmp_path)
    before = {key: value.clone() for key, value in parts.model.state_dict().items()}
    with caplog.at_level(logging.INFO):
        run(parts, max_iteration=4, start_iteration=4)
    assert all(torch.equal(value, before[key]) for key, value in parts.model.state_dict().items())
    assert (tmp_path / "model_final.pth").exists()


def test_a_run_beyond_its_new_end_keeps_its_iteration(tmp_path, caplog):
    """It was saved as if it had been at the new end, and would have repeated iterations later."""
    parts = make_parts(tmp_path)
    run(parts, max_iteration=6)
    with caplog.at_level(logging.WARNING):
        run(parts, max_iteration=4, start_iteration=6)
    assert "at iteration 6 already, beyond the 4" in caplog.text
    data = read_checkpoint(tmp_path / "model_final.pth")
    assert data["iteration"] == data["scheduler"]["last_epoch"] == 6


def test_a_loader_that_ends_early_is_named():
    with pytest.raises(TrainingError, match="ended before iteration 4 of 9"):
        run(make_parts(), max_iteration=9, loader=make_loader(3))


def test_a_loss_that_is_not_finite_stops_the_run_and_saves_nothing(tmp_path):
    parts = make_parts(tmp_path)

    def break_it(number):
        if number == 4:
            parts.model.head.bias.data[0] = float("inf")

    parts.model.before = break_it
    with pytest.raises(TrainingError) as error:
        run(parts, max_iteration=9, describe_image=lambda index: f"id {100 + index}",
            periods=Periods(checkpoint=2))  # fmt: skip
    assert "not finite at iteration 4" in str(error.value)
    assert "loss_box inf, loss_norm inf; images id 1" in str(error.value)
    assert sorted(os.listdir(tmp_path)) == ["last_checkpoint", "model_0000002.pth"]
    assert make_parts(tmp_path).load()["iteration"] == 2


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    """The gradient of iteration 4 breaks a weight; the loss will only show it at iteration 5."""
    parts = make_parts(tmp_path)

    def break_gradient(number):
        if number == 4:
            parts.model.head.weight.register_hook(lambda gradient: gradient * float("nan"))

    parts.model.before = break_gradient
    with pytest.raises(TrainingError, match=r"head\.weight holds .* not finite after iteration 4"):
        run(parts, max_iteration=9, periods=Periods(checkpoint=2))
    assert make_parts(tmp_path).load()["iteration"] == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_run_goes_on_as_if_nothing_had_been(tmp_path, caplog, number):
    whole = make_parts()
    run(whole, max_iteration=9)

    parts = make_parts(tmp_path)
    parts.model.before = lambda n: os.kill(os.getpid(), number) if n == 6 else None
    with caplog.at_level(logging.INFO), pytest.raises(KeyboardInterrupt):
        run(parts, max_iteration=9)
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "model_0000006.pth")
    assert "Stopped after iteration 6 of 9" in caplog.text
    assert "run the same command again" in caplog.text

    resumed = make_parts(tmp_path, seed=1)
    run(resumed, max_iteration=9, start_iteration=resumed.load()["iteration"])
    assert same(whole.model, resumed.model)


def test_a_signal_in_the_last_iteration_saves_the_final_model(tmp_path):
    parts = make_parts(tmp_path)
    parts.model.before = lambda n: os.kill(os.getpid(), signal.SIGINT) if n == 5 else None
    with pytest.raises(KeyboardInterrupt):
        run(parts, max_iteration=5)
    assert sorted(os.listdir(tmp_path)) == [
        "last_checkpoint",
        "model_0000004.pth",
        "model_final.pth",
    ]


def test_a_checkpoint_that_was_due_anyway_is_not_saved_twice(tmp_path, caplog):
    parts = make_parts(tmp_path)
    parts.model.before = lambda n: os.kill(os.getpid(), signal.SIGINT) if n == 4 else None
    with caplog.at_level(logging.INFO), pytest.raises(KeyboardInterrupt):
        run(parts, max_iteration=9)
    assert sum("Saving checkpoint" in text for text in caplog.messages) == 1


def test_a_second_signal_stops_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(interrupt, "_ONE_WISH_S", 0)
    parts = make_parts(tmp_path)

    def twice(number):
        if number == 2:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    parts.model.before = twice
    with pytest.raises(KeyboardInterrupt):
        run(parts, max_iteration=9)
    assert os.listdir(tmp_path) == []


def test_tests_in_between_are_called_and_change_nothing():
    whole = make_parts()
    run(whole, max_iteration=9)

    parts, seen = make_parts(), []

    def evaluate(iteration):
        seen.append((iteration, parts.model.training))
        parts.model.eval()
        torch.rand(5)  # Whatever a test draws must not shift the training.

    run(parts, max_iteration=9, evaluate=evaluate, periods=Periods(test=4))
    assert seen == [(4, True), (8, True)]
    assert same(whole.model, parts.model)


def test_the_old_function_trains_and_saves(tmp_path):
    from maskrcnn_benchmark.config import get_defaults

    cfg = get_defaults()
    parts = make_parts(tmp_path)
    arguments = {"iteration": 0, "note": "mine"}
    do_train(
        cfg,
        parts.model,
        make_loader(6),
        None,
        parts.optimizer,
        parts.scheduler,
        parts,
        "cpu",
        4,
        0,
        arguments,
    )
    assert arguments["iteration"] == 6
    data = make_parts(tmp_path).load()
    assert data == {"iteration": 6, "note": "mine"}
    assert (tmp_path / "model_0000004.pth").exists()


def test_the_old_reduction_averages():
    losses = {"loss_a": torch.tensor(2.0)}
    assert reduce_loss_dict(losses) == losses
