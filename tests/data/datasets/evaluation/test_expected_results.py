import logging

import pytest

from maskrcnn_benchmark.data.datasets.evaluation.expected_results import (
    check_expected_results,
    parse_expected_results,
)
from maskrcnn_benchmark.errors import ConfigError

KNOWN = {"bbox": ("AP", "AP50"), "segm": ("AP",)}


def test_values_inside_the_range_pass(caplog: pytest.LogCaptureFixture) -> None:
    expectations = parse_expected_results(
        [["bbox", "AP", [0.5, 0.01]], ("segm", "AP", (0.3, 0.005))], known=KNOWN
    )
    with caplog.at_level(logging.INFO, logger="maskrcnn_benchmark.inference"):
        passed = check_expected_results(
            {"bbox": {"AP": 0.53}, "segm": {"AP": 0.33}}, expectations, sigma_tol=4
        )
    assert not passed
    assert [record.getMessage() for record in caplog.records] == [
        "PASS: bbox > AP sanity check (actual vs. expected): "
        "0.530 vs. mean=0.5000, std=0.01, range=(0.4600, 0.5400)",
        "FAIL: segm > AP sanity check (actual vs. expected): "
        "0.330 vs. mean=0.3000, std=0.005, range=(0.2800, 0.3200)",
    ]


def test_the_ends_of_the_range_do_not_pass() -> None:
    expectations = parse_expected_results([["bbox", "AP", [0.5, 0.125]]], known=KNOWN)
    assert not check_expected_results({"bbox": {"AP": 0.75}}, expectations, sigma_tol=2)
    assert check_expected_results({"bbox": {"AP": 0.7499}}, expectations, sigma_tol=2)


def test_nothing_expected_is_nothing_missed() -> None:
    assert check_expected_results({}, parse_expected_results([], known=KNOWN))


@pytest.mark.parametrize(
    "row", [["bbox", "AP"], ["bbox", "AP", 0.5], ["bbox", "AP", ["a", 1]], 3, []]
)
def test_rows_of_another_form_are_refused(row: object) -> None:
    with pytest.raises(ConfigError, match=r"row 1: expected \[task, metric, \[mean, std\]\]"):
        parse_expected_results([["bbox", "AP", [0.5, 0.1]], row], known=KNOWN)


@pytest.mark.parametrize("row", [["keypoints", "AP", [0.5, 0.1]], ["segm", "AP99", [0.5, 0.1]]])
def test_what_is_not_measured_cannot_be_expected(row: list[object]) -> None:
    with pytest.raises(ConfigError, match=r"is not measured here\. Measured are bbox: AP, AP50"):
        parse_expected_results([row], known=KNOWN)
