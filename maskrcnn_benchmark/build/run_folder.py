"""The folder of a run: its log, its effective configuration, the machine it ran on."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.utils.atomic import atomic_write, remove_stale_temporaries
from maskrcnn_benchmark.utils.collect_env import collect_env_info
from maskrcnn_benchmark.utils.comm import is_main_process
from maskrcnn_benchmark.utils.logger import close_logger, setup_logger
from maskrcnn_benchmark.utils.miscellaneous import mkdir, save_config

LOGGER_NAME = "maskrcnn_benchmark"
LOG_FILE = "train.log"
CONFIG_FILE = "config.yml"
ENVIRONMENT_FILE = "environment.txt"

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
