import time

from maskrcnn_benchmark.utils.timer import Timer, get_time_str


def test_it_adds_up_what_lies_between():
    timer = Timer()
    assert timer.average_time == 0
    for _ in range(2):
        timer.tic()
        time.sleep(0.01)
        timer.toc()
        time.sleep(0.01)
    assert timer.calls == 2
    assert 0.02 <= timer.total_time < 0.04
    assert timer.average_time == timer.total_time / 2
    timer.tic()
    assert timer.toc(average=False) == timer.diff < 0.01


def test_durations_in_words():
    assert get_time_str(3723) == "1:02:03"
    assert get_time_str(0.25) == "0:00:00.250000"
