import time

from maskrcnn_benchmark.utils.timer import Timer, get_time_str


def test_it_adds_up_what_lies_between(monkeypatch):
    # A clock of our own: on a busy machine a sleep may take any time.
    times = iter([10.0, 10.5, 20.0, 21.5, 30.0, 30.25])
    monkeypatch.setattr(time, "perf_counter", lambda: next(times))
    timer = Timer()
    assert timer.average_time == 0
    for _ in range(2):
        timer.tic()
        timer.toc()
    assert timer.calls == 2
    assert timer.total_time == 2.0
    assert timer.average_time == 1.0
    timer.tic()
    assert timer.toc(average=False) == timer.diff == 0.25


def test_durations_in_words():
    assert get_time_str(3723) == "1:02:03"
    assert get_time_str(0.25) == "0:00:00.250000"
