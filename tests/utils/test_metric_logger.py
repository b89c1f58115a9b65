import pytest
import torch

from maskrcnn_benchmark.utils.metric_logger import MetricLogger, SmoothedValue


def test_the_median_is_the_lower_one_of_the_last_twenty():
    value = SmoothedValue()
    for number in range(1, 31):
        value.update(number)
    # The last twenty are 11..30: the middle two are 20 and 21.
    assert value.median == 20
    assert value.avg == 20.5
    assert value.global_avg == 15.5
    assert (value.total, value.count) == (465, 30)
    window = torch.arange(11.0, 31.0)
    assert value.median == window.median().item()


def test_an_odd_window_has_one_middle():
    value = SmoothedValue(window_size=3)
    for number in (100, 3, 1, 2):
        value.update(number)
    assert value.median == 2


def test_text_shows_median_and_mean_in_the_order_of_first_use():
    meters = MetricLogger(delimiter="  ")
    meters.update(loss=torch.tensor(3.0), time=0.5)
    meters.update(loss=1.0, time=1.5)
    assert str(meters) == "loss: 1.0000 (2.0000)  time: 0.5000 (1.0000)"


def test_series_are_attributes():
    meters = MetricLogger()
    assert meters.delimiter == "\t"
    meters.update(loss=1)
    assert meters.loss is meters.meters["loss"]
    with pytest.raises(AttributeError, match="no series 'lr' yet; there are: loss"):
        meters.lr  # noqa: B018
