import json
import sys

import pytest

from maskrcnn_benchmark.engine.metric_writers import (
    METRICS_FILE,
    JsonLinesWriter,
    open_writers,
    read_metrics,
)
from maskrcnn_benchmark.errors import MissingExtraError


def record(iteration, kind="train", **values):
    return {"kind": kind, "iteration": iteration, **values}


def write(folder, *records, start=0):
    writer = JsonLinesWriter(folder, start_iteration=start)
    for each in records:
        writer.write(each)
    writer.close()


def test_each_record_is_a_line(tmp_path):
    records = [record(20, loss=1.5, mean={"loss": 2.0}), record(20, "test", results={})]
    write(tmp_path, *records)
    lines = (tmp_path / METRICS_FILE).read_text().splitlines()
    assert [json.loads(line) for line in lines] == records == read_metrics(tmp_path / METRICS_FILE)


def test_a_record_is_in_the_file_at_once(tmp_path):
    writer = JsonLinesWriter(tmp_path)
    writer.write(record(1))
    assert len(read_metrics(tmp_path / METRICS_FILE)) == 1
    writer.close()


def test_a_resumed_run_drops_what_it_does_again_and_half_lines(tmp_path):
    write(tmp_path, record(20), record(40), record(40, "test"), record(60))
    with open(tmp_path / METRICS_FILE, "a") as file:
        file.write('{"kind": "train", "iterat')
    write(tmp_path, record(60, loss=1), start=40)
    assert read_metrics(tmp_path / METRICS_FILE) == [
        record(20),
        record(40),
        record(40, "test"),
        record(60, loss=1),
    ]


def test_a_new_run_in_an_old_folder_starts_a_new_file(tmp_path):
    write(tmp_path, record(0), record(20))
    write(tmp_path, record(5))
    assert read_metrics(tmp_path / METRICS_FILE) == [record(5)]


def test_tensorboard_gets_every_number(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
    )
    writers = open_writers(tmp_path)
    assert len(writers) == 2
    for iteration in (20, 40):
        for writer in writers:
            writer.write(record(iteration, loss=iteration / 10, mean={"loss": 3.0}))
    writers[0].write(record(40, "test"))
    for writer in writers:
        writer.write(record(40, "test", dataset="mini", results={"bbox": {"AP": 0.5}}))
        writer.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == [
        "test/results/bbox/AP",
        "train/loss",
        "train/mean/loss",
    ]
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(20, 2.0), (40, 4.0)]


def test_tensorboard_may_be_missing_or_off(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    for choice in ("auto", "off"):
        (writer,) = open_writers(tmp_path, tensorboard=choice)
        writer.close()
    with pytest.raises(MissingExtraError, match=r"pip install 'maskrcnn-benchmark\[tensorboard\]'"):
        open_writers(tmp_path, tensorboard="on")
