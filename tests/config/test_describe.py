from __future__ import annotations

import pytest

from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.config.describe import describe_field, describe_value


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("MODEL.MASK_ON", "true or false"),
        ("MODEL.WEIGHT", "text"),
        ("SOLVER.MAX_ITER", "a whole number of at least 1"),
        ("SOLVER.BIAS_LR_FACTOR", "a number of at least 0"),
        ("SOLVER.MOMENTUM", "a number of at least 0 and below 1"),
        ("MODEL.RPN.NMS_THRESH", "a number from 0 to 1"),
        ("MODEL.RPN.ANCHOR_SIZES", "a tuple of one or more numbers or tuples of numbers"),
        ("SOLVER.STEPS", "a tuple of whole numbers of at least 1"),
        ("INPUT.PIXEL_MEAN", "a tuple of one or more numbers"),
        ("DATASETS.TRAIN", "a tuple of texts"),
        ("MODEL.RESNETS.STAGE_WITH_DCN", "a tuple of 4 values, true or false"),
        ("DATALOADER.ON_ERROR", 'one of "stop", "skip"'),
        ("DATASETS.CUSTOM", "names with their entries, {name: {...}}"),
        ("TEST.EXPECTED_RESULTS", "a tuple of rows, each (text, text, a tuple of 2 numbers)"),
    ],
)
def test_types_in_words(key: str, words: str) -> None:
    section, name = get_defaults().locate(key)
    assert describe_field(section.field(name)) == words


def test_no_key_is_just_a_value() -> None:
    for section, name in get_defaults().walk():
        assert "value" not in describe_field(section.field(name)).replace("values, true", "")


def test_values_in_words() -> None:
    assert describe_value(None) == "nothing (null)"
    assert describe_value("1") == "the text '1'"
    assert describe_value((1, 2)) == "(1, 2)"
    assert len(describe_value(tuple(range(1000)))) == 80
