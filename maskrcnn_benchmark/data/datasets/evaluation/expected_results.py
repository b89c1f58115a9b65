"""The gate: whether an evaluation's numbers are those that were expected (`TEST.EXPECTED_RESULTS`)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maskrcnn_benchmark.errors import ConfigError


@dataclass(frozen=True)
class Expectation:
    """One number and how far it may lie from what is expected.

    Attributes:
        task: "bbox", "segm" or "box_proposal".
        metric: "AP", "AP50", ...
        mean: what is expected.
        std: the standard deviation between runs.
    """

    task: str
    metric: str
    mean: float
    std: float


def parse_expected_results(
    rows: Sequence[Any], *, known: Mapping[str, Sequence[str]]
) -> list[Expectation]:
    """Read rows of `[task, metric, [mean, std]]`.

    Args:
        rows: the value of `TEST.EXPECTED_RESULTS`.
        known: the tasks that will be measured and their metrics. Checked before hours of evaluation, not after.

    Raises:
        ConfigError: for a row of another form, or a task or metric that will not be measured.
    """
    expectations = []
    for index, row in enumerate(rows):
        try:
            task, metric, (mean, std) = row
            expectation = Expectation(str(task), str(metric), float(mean), float(std))
        except (TypeError, ValueError):
            raise ConfigError(
                f"TEST.EXPECTED_RESULTS, row {index}: expected [task, metric, [mean, std]] such as "
                f"['bbox', 'AP', [0.377, 0.001]], got {row!r}"
            ) from None
        if expectation.metric not in known.get(expectation.task, ()):
            measured = "; ".join(f"{task}: {', '.join(names)}" for task, names in known.items())
            raise ConfigError(
                f"TEST.EXPECTED_RESULTS, row {index}: {task!r} > {metric!r} is not measured here. "
                f"Measured are {measured}"
            )
        expectations.append(expectation)
    return expectations


def check_expected_results(
    results: Mapping[str, Mapping[str, float]],
    expectations: Sequence[Expectation],
    *,
    sigma_tol: float = 4,
) -> bool:
    """Log a line PASS or FAIL for each expectation.

    Args:
        results: task -> metric -> value.
        expectations: from `parse_expected_results`.
        sigma_tol: how many standard deviations a value may lie away; it must be inside, not at the end.

    Returns:
        Whether all of them passed.
    """
    logger = logging.getLogger("maskrcnn_benchmark.inference")
    all_passed = True
    for expected in expectations:
        value = results[expected.task][expected.metric]
        low = expected.mean - sigma_tol * expected.std
        high = expected.mean + sigma_tol * expected.std
        line = (
            f"{expected.task} > {expected.metric} sanity check (actual vs. expected): {value:.3f} "
            f"vs. mean={expected.mean:.4f}, std={expected.std:.4}, range=({low:.4f}, {high:.4f})"
        )
        if low < value < high:
            logger.info("PASS: %s", line)
        else:
            logger.error("FAIL: %s", line)
            all_passed = False
    return all_passed
