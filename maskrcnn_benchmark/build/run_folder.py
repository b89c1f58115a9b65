"""The folder of a run: its log, its effective configuration, the machine it ran on."""

from __future__ import annotations

import errno
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import ConfigError, TrainingError
from maskrcnn_benchmark.utils.atomic import atomic_write, remove_stale_temporaries
from maskrcnn_benchmark.utils.collect_env import collect_env_info
from maskrcnn_benchmark.utils.comm import is_main_process
from maskrcnn_benchmark.utils.logger import close_logger, setup_logger
from maskrcnn_benchmark.utils.miscellaneous import mkdir, save_config

LOGGER_NAME = "maskrcnn_benchmark"
LOG_FILE = "train.log"
CONFIG_FILE = "config.yml"
ENVIRONMENT_FILE = "environment.txt"

# What the system says of a disk that takes no more: full, over the quota, mounted anew for reading only.
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

logger = logging.getLogger(LOGGER_NAME)


def check_writable(folder: str) -> None:
    """Make a folder and write into it, so that a run does not fail at its first checkpoint.

    Raises:
        ConfigError: if that is not possible.
    """
    try:
        mkdir(folder)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        raise ConfigError(
            f"OUTPUT_DIR {folder!r} cannot be written: {error.strerror or error}. "
            "Choose another folder, for example OUTPUT_DIR my_run"
        ) from error


@contextmanager
def disk_errors(folder: str) -> Iterator[None]:
    """Say what to do when the disk takes no more while the block runs: logs, metrics and results are files too.

    Args:
        folder: of the run, for the message.

    Raises:
        TrainingError: in place of the OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        raise TrainingError(
            f"a file in OUTPUT_DIR {folder!r} cannot be written: {error.strerror}. Make room, then give the same "
            "command again: a training goes on from its last checkpoint"
        ) from error


@contextmanager
def run_log(folder: str | None, *, rank: int) -> Iterator[None]:
    """Log to the console while the block runs, and in more detail to `folder/train.log`.

    Args:
        folder: None for the console alone.
        rank: processes other than 0 are silent.
    """
    setup_logger(LOGGER_NAME, folder, rank, LOG_FILE, console_level=logging.INFO)
    try:
        yield
    except BaseException as error:
        # For the file alone: whoever catches it decides what the console shows.
        logger.debug("Stopped by %s", type(error).__name__, exc_info=True)
        raise
    finally:
        try:
            close_logger(LOGGER_NAME)
        except OSError:
            # The disk is full, the file's last lines are lost. Its handler is gone; close what is left.
            close_logger(LOGGER_NAME)


def describe_run(cfg: Config) -> None:
    """Write config.yml and environment.txt, and both into the log file; tidy up after a kill."""
    if not is_main_process():
        return
    folder = Path(cfg.OUTPUT_DIR)
    for path in remove_stale_temporaries(folder):
        logger.info("Removed %s, which a killed process left unfinished", path)
    logger.info("Collecting env info (might take some time)")
    environment = collect_env_info()
    logger.debug("\n%s", environment)
    with atomic_write(folder / ENVIRONMENT_FILE) as file:
        file.write(environment + "\n")
    logger.debug("Running with config:\n%s", cfg.dump())
    logger.info("Saving config into: %s", folder / CONFIG_FILE)
    save_config(cfg, folder / CONFIG_FILE)
