import logging
import re
import time

import pytest
import torch

from maskrcnn_benchmark.engine.training_log import TrainingLog, peak_memory_mib
from maskrcnn_benchmark.utils.metric_logger import MetricLogger

CPU = torch.device("cpu")


class Keeper:
    def __init__(self):
        self.records = []

    def write(self, record):
        self.records.append(record)

    def close(self):
        pass


@pytest.fixture
def keeper():
    return Keeper()


@pytest.fixture
def log(keeper):
    return TrainingLog(
        logger=logging.getLogger("maskrcnn_test_log"),
        max_iteration=100,
        device=CPU,
        writers=[keeper],
    )


def test_the_line_has_the_old_content_in_the_old_order(log, caplog):
    log.update({"loss_classifier": 1.0, "loss_box_reg": 0.5})
    with caplog.at_level(logging.INFO):
        log.write(iteration=20, lr=0.0071733)
    assert re.fullmatch(
        r"eta: \d+:\d\d:\d\d  iter: 20  loss: 1\.5000 \(1\.5000\)  "
        r"loss_classifier: 1\.0000 \(1\.0000\)  loss_box_reg: 0\.5000 \(0\.5000\)  "
        r"time: \d\.\d{4} \(\d\.\d{4}\)  data: \d\.\d{4} \(\d\.\d{4}\)  "
        r"lr: 0\.007173  max mem: \d+",
        caplog.messages[0],
    )


def test_losses_on_test_sets_have_a_line_without_times(log, caplog):
    log.update({"loss_a": 1.0})
    meters = MetricLogger(delimiter="  ")
    meters.update(loss=2.0, loss_a=2.0)
    with caplog.at_level(logging.INFO):
        log.write_validation(meters, iteration=20, lr=0.02)
    assert re.fullmatch(
        r"\[Validation\]: eta: \d+:\d\d:\d\d  iter: 20  loss: 2\.0000 \(2\.0000\)  "
        r"loss_a: 2\.0000 \(2\.0000\)  lr: 0\.020000  max mem: \d+",
        caplog.messages[0],
    )


def test_the_record_has_medians_and_means(log, keeper):
    for value in (3.0, 1.0, 2.0, 10.0):
        log.update({"loss_a": value})
    log.write(iteration=4, lr=0.02)
    (record,) = keeper.records
    assert (record["kind"], record["iteration"], record["lr"]) == ("train", 4, 0.02)
    assert record["loss"] == record["loss_a"] == 2.0
    assert record["mean"]["loss_a"] == 4.0
    assert record["eta_seconds"] == pytest.approx(record["mean"]["time"] * 96)
    assert record["max_mem_mib"] > 100
    numbers = {key: value for key, value in record.items() if key not in ("kind", "mean")}
    assert all(isinstance(value, (int, float)) for value in numbers.values())


def test_time_counts_from_the_beginning_of_an_iteration(log, keeper, monkeypatch):
    # A clock of our own: on a busy machine a sleep may take any time.
    def at(moment):
        monkeypatch.setattr(time, "perf_counter", lambda: moment)

    at(105.0)
    log.begin()
    at(107.0)
    log.data_came()
    at(110.0)
    log.update({"loss_a": 1.0})
    log.write(iteration=1, lr=0.1)
    assert (keeper.records[0]["time"], keeper.records[0]["data"]) == (5.0, 2.0)


def test_memory_of_the_process_is_counted_in_mib():
    resource = pytest.importorskip("resource", reason="needs Unix")
    before = peak_memory_mib(CPU)
    block = torch.ones(200 * 2**20 // 4)
    after = peak_memory_mib(CPU)
    assert after >= before
    assert after == pytest.approx(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, rel=0.1
    )
    assert block.sum() > 0


@pytest.mark.gpu
def test_memory_of_a_gpu_is_that_of_its_tensors():
    device = torch.device("cuda")
    torch.cuda.reset_peak_memory_stats(device)
    before = peak_memory_mib(device)
    block = torch.ones(64 * 2**20 // 4, device=device)
    assert peak_memory_mib(device) - before == pytest.approx(64, abs=2)
    del block
