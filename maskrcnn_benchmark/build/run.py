"""A whole run: `train(cfg)` and `test(cfg)`.

What training leaves in OUTPUT_DIR: train.log, config.yml (all keys), environment.txt, labels.json,
metrics.jsonl, tensorboard/, model_NNNNNNN.pth, model_final.pth, last_checkpoint, and
inference/DATASET/ with the results of the final test.
"""

from __future__ import annotations

import logging
import os
import random
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from maskrcnn_benchmark import __version__
from maskrcnn_benchmark.build.checkpointer import find_in_model_catalog
from maskrcnn_benchmark.build.data import build_test_loaders, build_train_loader
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.build.solver import build_lr_scheduler, build_optimizer
from maskrcnn_benchmark.build.training import (
    build_dtype,
    build_evaluation,
    build_inference,
    step_settings,
)
from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.engine.distributed import (
    Place,
    distribute,
    process_group,
    wanted_world_size,
)
from maskrcnn_benchmark.engine.metric_writers import MetricWriter, open_writers
from maskrcnn_benchmark.engine.trainer import Periods, train_loop
from maskrcnn_benchmark.engine.training_step import make_grad_scaler
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.utils import env  # noqa: F401 (runs TORCH_DETECTRON_ENV_MODULE)
from maskrcnn_benchmark.utils.atomic import atomic_write, remove_stale_temporaries
from maskrcnn_benchmark.utils.collect_env import collect_env_info
from maskrcnn_benchmark.utils.comm import get_world_size
from maskrcnn_benchmark.utils.logger import close_logger, setup_logger
from maskrcnn_benchmark.utils.miscellaneous import mkdir, save_config, save_labels

LOGGER_NAME = "maskrcnn_benchmark"
LOG_FILE = "train.log"
CONFIG_FILE = "config.yml"
ENVIRONMENT_FILE = "environment.txt"

logger = logging.getLogger(LOGGER_NAME)


def train(
    cfg: Config,
    *,
    skip_test: bool = False,
    resume: bool = True,
    local_rank: int | None = None,
) -> dict[str, Any]:
    """Train what the configuration describes, then test it.

    A run that was interrupted goes on from its last checkpoint when it is started again.

    Args:
        cfg: everything about the run.
        skip_test: whether to leave out the test of the final model.
        resume: whether to go on from OUTPUT_DIR's last checkpoint if there is one.
        local_rank: for launchers that do not set LOCAL_RANK.

    Returns:
        Name of a test set -> its COCOResults; empty without test, and in all processes but the first.

    Raises:
        ConfigError: if the configuration cannot be run here.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, when a checkpoint has been saved.
    """
    cfg.validate_run(world_size=max(wanted_world_size(), get_world_size()))
    check_writable(cfg.OUTPUT_DIR)
    device, remark = choose_device(cfg.MODEL.DEVICE)
    with process_group(device, local_rank=local_rank) as place, _log(cfg.OUTPUT_DIR, place):
        _describe(place, remark=remark)
        seed_everything(cfg.SEED)
        model = build_model(cfg).to(place.device)
        _train_model(cfg, model, place=place, resume=resume)
        if skip_test:
            return {}
        _share_statistics(model)
        return _test_model(cfg, model, place=place)


def test(
    cfg: Config, *, checkpoint: str | None = None, local_rank: int | None = None
) -> dict[str, Any]:
    """Score a model on every set of DATASETS.TEST.

    Args:
        cfg: everything about the run.
        checkpoint: path, URL or catalog name; None: OUTPUT_DIR's last checkpoint, else MODEL.WEIGHT.
        local_rank: for launchers that do not set LOCAL_RANK.

    Returns:
        Name of a test set -> its COCOResults; empty in all processes but the first.
    """
    cfg.validate_run(world_size=max(wanted_world_size(), get_world_size()))
    if not cfg.DATASETS.TEST:
        raise ConfigError("nothing to test on: DATASETS.TEST names no data set")
    check_writable(cfg.OUTPUT_DIR)
    device, remark = choose_device(cfg.MODEL.DEVICE)
    with process_group(device, local_rank=local_rank) as place, _log("", place):
        _describe(place, remark=remark)
        seed_everything(cfg.SEED)
        model = build_model(cfg).to(place.device)
        checkpointer = _make_checkpointer(cfg, model)
        checkpointer.load(checkpoint or cfg.MODEL.WEIGHT, use_latest=checkpoint is None)
        return _test_model(cfg, model, place=place)


def check_writable(folder: str) -> None:
    """Make a folder and write into it, so that a run does not fail at its first checkpoint.

    Raises:
        ConfigError: if that is not possible.
    """
    try:
        mkdir(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"OUTPUT_DIR {folder!r} cannot be written: {error.strerror or error}. "
            "Choose another folder: OUTPUT_DIR my_run"
        ) from error


def choose_device(name: str) -> tuple[torch.device, str]:
    """Return the device that MODEL.DEVICE names, and a remark if it had to be another one.

    Raises:
        ConfigError: if it is no device that torch knows.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"MODEL.DEVICE {name!r} is no device: use cuda or cpu") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        return torch.device("cpu"), (
            f"MODEL.DEVICE is {name}, but torch finds no CUDA device here: using the CPU, which is "
            "many times slower (MODEL.DEVICE cpu says so from the start)"
        )
    return device, ""


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators: initial weights, foreign code."""
    random.seed(seed)
    numpy.random.seed(seed % (1 << 32))
    torch.manual_seed(seed)


@contextmanager
def _log(folder: str, place: Place) -> Iterator[None]:
    setup_logger(LOGGER_NAME, folder, place.rank, LOG_FILE, console_level=logging.INFO)
    logging.captureWarnings(True)
    warnings = logging.getLogger("py.warnings")
    handlers = list(logger.handlers)
    for handler in handlers:
        warnings.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            warnings.removeHandler(handler)
        logging.captureWarnings(False)
        close_logger(LOGGER_NAME)
