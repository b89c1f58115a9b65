import errno
import logging
import os
import signal

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.checkpoint import checkpointer as module
from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer
from maskrcnn_benchmark.errors import CheckpointError
from maskrcnn_benchmark.solver import WarmupMultiStepLR, make_sgd
from tests.engine.processes import run_in_process


def make(folder, size=3, **settings):
    model = nn.Sequential(nn.Linear(size, size), nn.BatchNorm1d(size))
    optimizer = make_sgd(model.named_parameters(), base_lr=0.1)
    scheduler = WarmupMultiStepLR(optimizer, (5,), warmup_iters=3)
    return Checkpointer(model, optimizer, scheduler, folder, **settings)


def train(parts, steps=1):
    for _ in range(steps):
        parts.optimizer.zero_grad()
        parts.model(torch.randn(4, parts.model[1].num_features)).square().mean().backward()
        parts.optimizer.step()
        parts.scheduler.step()


def same(first, second):
    one, other = first.state_dict(), second.state_dict()
    return all(torch.equal(one[key], other[key]) for key in one)


def test_everything_comes_back(tmp_path):
    first = make(tmp_path)
    train(first, 4)
    first.save("model_0000004", iteration=4, seed=3, class_names=["__background__", "cat"])
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "model_0000004.pth")

    second = make(tmp_path)
    assert second.has_checkpoint()
    assert second.load("unused.pth") == {
        "iteration": 4,
        "seed": 3,
        "class_names": ["__background__", "cat"],
    }
    assert same(first.model, second.model)
    assert second.scheduler.last_epoch == 4
    for parts in (first, second):
        torch.manual_seed(5)
        train(parts, 3)
    assert same(first.model, second.model)


def test_an_empty_folder_starts_from_scratch(tmp_path, caplog):
    parts = make(tmp_path)
    with caplog.at_level(logging.INFO):
        assert parts.load() == {}
    assert "No checkpoint found. Initializing model from scratch" in caplog.text
    assert parts.resume() == {}
    assert parts.get_checkpoint_file() == ""


def test_without_a_folder_nothing_is_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make("").save("model")
    make(tmp_path, save_to_disk=False).save("model")
    assert list(tmp_path.iterdir()) == []


def test_a_given_file_is_loaded_if_the_last_one_is_not_wanted(tmp_path):
    first, second = make(tmp_path), make(tmp_path)
    train(first)
    first.save("model_0000001", iteration=1)
    train(second, 2)
    second.save("model_0000002", iteration=2)
    third = make(tmp_path)
    assert third.load(tmp_path / "model_0000001.pth", use_latest=False) == {"iteration": 1}
    assert same(third.model, first.model)
    assert third.load(tmp_path / "model_0000001.pth") == {"iteration": 2}


def test_weights_alone_can_be_loaded(tmp_path):
    first = make(tmp_path)
    train(first, 2)
    first.save("model_final", iteration=2)
    second = make("")
    match, rest = second.load_weights(tmp_path / "model_final.pth")
    assert same(first.model, second.model)
    assert match.missing == []
    assert rest["iteration"] == 2
    assert second.scheduler.last_epoch == 0


def test_weights_of_a_file_without_the_rest_are_loaded(tmp_path):
    first, second = make(""), make("")
    torch.save(first.model.state_dict(), tmp_path / "bare.pth")
    assert second.load(tmp_path / "bare.pth") == {}
    assert same(first.model, second.model)


def test_a_folder_that_moved_still_resumes(tmp_path):
    make(tmp_path / "old" if (tmp_path / "old").mkdir() is None else "").save("model", iteration=1)
    (tmp_path / "old").rename(tmp_path / "new")
    parts = make(tmp_path / "new")
    assert parts.get_checkpoint_file() == str(tmp_path / "new" / "model.pth")
    assert parts.load()["iteration"] == 1


def test_only_so_many_numbered_ones_are_kept(tmp_path):
    parts = make(tmp_path, keep=2)
    for iteration in (1, 2, 10, 9):
        parts.save(f"model_{iteration:07d}", iteration=iteration)
    parts.save("model_final", iteration=10)
    assert sorted(os.listdir(tmp_path)) == [
        "last_checkpoint",
        "model_0000009.pth",
        "model_0000010.pth",
        "model_final.pth",
    ]


def test_further_parts_are_saved_under_their_names(tmp_path):
    def scaled(factor):
        scaler = torch.amp.GradScaler("cpu", init_scale=factor)
        return make(tmp_path, stateful={"scaler": scaler}), scaler

    first, scaler = scaled(8.0)
    scaler.scale(torch.ones(1))  # The scale exists from the first use on.
    first.save("model", iteration=1)
    second, restored = scaled(2.0)
    assert second.load() == {"iteration": 1}
    assert restored.get_scale() == 8.0


@pytest.mark.parametrize("damage", ["cut", "gone", "html"])
def test_a_damaged_last_checkpoint_gives_way_to_the_newest_readable_one(tmp_path, caplog, damage):
    parts = make(tmp_path)
    for iteration in (2, 10, 11, 12):
        parts.save(f"model_{iteration:07d}", iteration=iteration)
    (tmp_path / "model_0000011.pth").write_bytes(b"")
    last = tmp_path / "model_0000012.pth"
    if damage == "gone":
        last.unlink()
    else:
        last.write_bytes(last.read_bytes()[:500] if damage == "cut" else b"<html>")
    assert make(tmp_path).load() == {"iteration": 10}
    assert "The last checkpoint cannot be used" in caplog.text
    assert f"Going on from the newest readable one, {tmp_path / 'model_0000010.pth'}" in caplog.text


def test_the_final_one_counts_with_its_own_iteration(tmp_path):
    parts = make(tmp_path)
    parts.save("model_final", iteration=11)
    for iteration in (10, 12):
        parts.save(f"model_{iteration:07d}", iteration=iteration)
    (tmp_path / "model_0000012.pth").write_bytes(b"x")
    assert make(tmp_path).load() == {"iteration": 11}


def test_if_none_can_be_read_all_reasons_are_named(tmp_path):
    parts = make(tmp_path)
    for iteration in (1, 2):
        parts.save(f"model_{iteration:07d}", iteration=iteration)
        (tmp_path / f"model_{iteration:07d}.pth").write_bytes(b"")
    with pytest.raises(CheckpointError) as error:
        make(tmp_path).load()
    for part in ("model_0000001.pth is empty", "model_0000002.pth is empty", "last_checkpoint"):
        assert part in str(error.value)


def test_a_run_of_another_model_is_not_resumed(tmp_path):
    make(tmp_path, size=3).save("model_0000001", iteration=1)
    with pytest.raises(CheckpointError, match="saved from a different model"):
        make(tmp_path, size=4).load()


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    parts = make(tmp_path)
    parts.save("model_0000001", iteration=1)
    whole = (tmp_path / "model_0000001.pth").read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CheckpointError, match=r"No space left.*Nothing was changed"):
            parts.save("model_0000002", iteration=2)
        with pytest.raises(CheckpointError, match="No space left"):
            parts.save("model_0000001", iteration=2)
    assert sorted(os.listdir(tmp_path)) == ["last_checkpoint", "model_0000001.pth"]
    assert (tmp_path / "model_0000001.pth").read_bytes() == whole
    assert make(tmp_path).load() == {"iteration": 1}


def test_a_disk_that_fills_up_before_the_tag_keeps_the_previous_one(tmp_path, monkeypatch):
    parts = make(tmp_path)
    parts.save("model_0000001", iteration=1)

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(module, "atomic_write", full)
        with pytest.raises(CheckpointError, match=r"last_checkpoint: No space left"):
            parts.save("model_0000002", iteration=2)
    assert make(tmp_path).load() == {"iteration": 1}


def _save_again_and_again(folder, seconds):
    """Count up in a weight and save it, until this process kills itself in the middle."""
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    model = nn.Linear(400, 400)
    parts = Checkpointer(model, save_dir=folder)
    start = parts.load().get("iteration", 0)
    for iteration in range(start + 1, start + 1_000_000):
        nn.init.constant_(model.weight, float(iteration))
        parts.save(f"model_{iteration % 3:07d}", iteration=iteration)
        (folder / "reached").write_text(str(iteration))
        if iteration == start + 1:
            signal.setitimer(signal.ITIMER_REAL, seconds)


def test_kills_at_any_moment_leave_a_loadable_checkpoint(tmp_path):
    for life in range(8):
        assert run_in_process(_save_again_and_again, tmp_path, 0.003 * (1 + life)) == -9
        model = nn.Linear(400, 400)
        iteration = Checkpointer(model, save_dir=tmp_path).load()["iteration"]
        assert iteration >= int((tmp_path / "reached").read_text() or 0)
        assert torch.equal(model.weight, torch.full((400, 400), float(iteration)))


def test_catalog_names_are_looked_up(tmp_path):
    first = make("")
    torch.save({"model": first.model.state_dict()}, tmp_path / "R-50.pth")
    catalog = {"ImageNet/R-50": str(tmp_path / "R-50.pth")}
    second = make("", find_in_catalog=catalog.__getitem__)
    second.load("catalog://ImageNet/R-50")
    assert same(first.model, second.model)
    with pytest.raises(CheckpointError, match="no catalog"):
        make("").load("catalog://ImageNet/R-50")


def test_urls_come_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_MODEL_ZOO", str(tmp_path))
    first, second = make(""), make("")
    torch.save({"model": first.model.state_dict()}, tmp_path / "weights.pth")
    second.load("http://127.0.0.1:9/somewhere/weights.pth")
    assert same(first.model, second.model)


def test_a_detectron_file_that_cannot_be_downloaded_may_be_put_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_MODEL_ZOO", str(tmp_path))
    catalog = {"ImageNetPretrained/MSRA/R-50": "https://127.0.0.1:9/MSRA/R-50.pkl"}
    parts = make("", find_in_catalog=catalog.__getitem__)
    with pytest.raises(CheckpointError, match=r"could not download .* put it at .*R-50\.pkl"):
        parts.load("catalog://ImageNetPretrained/MSRA/R-50")
