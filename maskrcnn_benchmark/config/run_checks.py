"""Checks of keys against each other: what each key allows on its own, but not together.

When they run:

- `check_run`, before a run, looks at the effective values.
- `check_source`, at the end of each merge, runs those checks whose keys all stand in the file or list that is being
  merged: there the contradiction is certain, while a value that clashes with an inherited one may still be put right
  by the next file or list.

So a file whose STEPS lie beyond its own MAX_ITER is refused when it is read; `SOLVER.MAX_ITER 100` over a file with
STEPS (60000, 80000) is refused when the training starts, with the STEPS to add.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from typing import TYPE_CHECKING

from maskrcnn_benchmark.config.check import Check, given
from maskrcnn_benchmark.config.network_checks import NETWORK_CHECKS
from maskrcnn_benchmark.config.variant_checks import VARIANT_CHECKS
from maskrcnn_benchmark.errors import ConfigError

if TYPE_CHECKING:
    from maskrcnn_benchmark.config.defaults import Config


def _steps_within_run(config: Config) -> str | None:
    steps, end = config.SOLVER.STEPS, config.SOLVER.MAX_ITER
    if config.SOLVER.LR_SCHEDULE != "multistep" or not steps or steps[-1] <= end:
        return None
    # The last of the old schedules' steps comes at 8/9 of the run.
    scaled = sorted({max(1, round(step / steps[-1] * end * 8 / 9)) for step in steps})
    suggestion = f"({', '.join(map(str, scaled))}{',' if len(scaled) == 1 else ''})"
    return (
        f"{given(config, 'SOLVER.STEPS')} lie beyond {given(config, 'SOLVER.MAX_ITER')}: the "
        f'learning rate would not drop there. Add SOLVER.STEPS "{suggestion}", say, or '
        'SOLVER.STEPS "()" for no drop'
    )


def _train_sizes(config: Config) -> str | None:
    if max(config.INPUT.MIN_SIZE_TRAIN) <= config.INPUT.MAX_SIZE_TRAIN:
        return None
    return (
        f"{given(config, 'INPUT.MIN_SIZE_TRAIN')} is above "
        f"{given(config, 'INPUT.MAX_SIZE_TRAIN')}: expected the short side not to exceed the long"
    )


def _test_sizes(config: Config) -> str | None:
    if config.INPUT.MIN_SIZE_TEST <= config.INPUT.MAX_SIZE_TEST:
        return None
    return (
        f"{given(config, 'INPUT.MIN_SIZE_TEST')} is above "
        f"{given(config, 'INPUT.MAX_SIZE_TEST')}: expected the short side not to exceed the long"
    )


def _channels(name: str) -> Callable[[Config], str | None]:
    def find(config: Config) -> str | None:
        numbers, channels = len(config.INPUT[name]), config.INPUT.CHANNELS
        if numbers == channels:
            return None
        return (
            f"{given(config, f'INPUT.{name}')}: expected a tuple of {channels} numbers, one for each of "
            f"{given(config, 'INPUT.CHANNELS')}"
        )

    return find


CHECKS = (
    *NETWORK_CHECKS,
    *VARIANT_CHECKS,
    Check(("SOLVER.STEPS", "SOLVER.MAX_ITER"), _steps_within_run, training=True),
    Check(("INPUT.MIN_SIZE_TRAIN", "INPUT.MAX_SIZE_TRAIN"), _train_sizes, training=True),
    Check(("INPUT.MIN_SIZE_TEST", "INPUT.MAX_SIZE_TEST"), _test_sizes),
    Check(("INPUT.PIXEL_MEAN", "INPUT.CHANNELS"), _channels("PIXEL_MEAN")),
    Check(("INPUT.PIXEL_STD", "INPUT.CHANNELS"), _channels("PIXEL_STD")),
)


def check_source(config: Config, *, keys: Set[str]) -> list[str]:
    """Return the contradictions between keys that one file or list gives.

    A file that gives most of all keys is the record of a run (its config.yml), not written by hand. It is read as it
    is, so that the results of every run can be looked at again.
    """
    if len(keys) > sum(1 for _ in config.walk()) / 2:
        return []
    checks = (check for check in CHECKS if keys >= set(check.keys))
    return _find_all(checks, config)


def check_run(config: Config, *, world_size: int, training: bool) -> None:
    """Refuse a configuration that contradicts itself; see `Config.validate_run`."""
    problems = _find_all((check for check in CHECKS if training or not check.training), config)
    if training and not config.DATASETS.TRAIN:
        problems.append(
            "DATASETS.TRAIN is empty: expected the name of at least one data set to train on"
        )
    batches = ["SOLVER.IMS_PER_BATCH"] if training else []
    if config.DATASETS.TEST:
        batches.append("TEST.IMS_PER_BATCH")
    for key in batches:
        section, name = config.locate(key)
        if section[name] % world_size:
            multiple = -(-section[name] // world_size) * world_size
            problems.append(
                f"{given(config, key)} cannot be shared by {world_size} processes: expected a "
                f"multiple of {world_size}, for example {key} {multiple}"
            )
    if problems:
        raise ConfigError("\n".join(problems))


def _find_all(checks: Iterable[Check], config: Config) -> list[str]:
    return [problem for check in checks if (problem := check.find(config))]
