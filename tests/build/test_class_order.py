import logging

import pytest

from maskrcnn_benchmark.build.class_order import check_class_order
from maskrcnn_benchmark.errors import DatasetError

NAMES = ["__background__", "nut", "fig", "date"]


def check(known, found):
    check_class_order(known, found, source="model.pth", dataset="data set 'mine'")


@pytest.mark.parametrize(
    ("known", "found"),
    [
        (NAMES, tuple(NAMES)),
        (NAMES, NAMES[:3]),
        (NAMES[:2], NAMES),
        (None, NAMES),
        (NAMES, None),
        (NAMES, ["__background__ ", *NAMES[1:]]),
    ],
)
def test_the_same_names_are_fine(known, found, caplog):
    check(known, found)
    assert caplog.records == []


def test_another_order_is_refused():
    with pytest.raises(
        DatasetError,
        match=r"label 2 is 'fig' in model\.pth, but 'date' in data set 'mine'.*nut, fig",
    ):
        check(NAMES, ["__background__", "nut", "date", "fig"])


def test_another_name_is_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        check(NAMES, ["__background__", "nut", "figs", "date"])
    assert "label 2 is 'fig' in model.pth, but 'figs'" in caplog.text
    assert "1 of 3 names differ" in caplog.text
