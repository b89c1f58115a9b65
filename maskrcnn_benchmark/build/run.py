"""A whole run: `train(cfg)` and `test(cfg)`.

What training leaves in OUTPUT_DIR: train.log, config.yml (all keys), environment.txt, labels.json,
metrics.jsonl, tensorboard/, model_NNNNNNN.pth, model_final.pth, last_checkpoint,
inference/DATASET/ with the results of the final test, and model_final.safetensors: the weights
with all that is needed to use them elsewhere.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy
import torch
import torch.distributed as dist
from torch import nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from maskrcnn_benchmark import __version__
from maskrcnn_benchmark.build.checkpointer import find_in_model_catalog, open_weights
from maskrcnn_benchmark.build.class_order import check_class_order
from maskrcnn_benchmark.build.data import (
    build_test_loaders,
    build_train_loader,
    build_validation_loader,
)
from maskrcnn_benchmark.build.exported import check_scorable, is_exported, open_exported
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.build.model_file import MODEL_FILE, write_model_file
from maskrcnn_benchmark.build.run_folder import check_writable, describe_run, disk_errors, run_log
from maskrcnn_benchmark.build.solver import build_lr_scheduler, build_optimizer
from maskrcnn_benchmark.build.training import (
    build_evaluation,
    build_inference,
    compile_losses,
    iou_types,
    scores_proposals,
    step_settings,
)
from maskrcnn_benchmark.build.weight_settings import adapt_config, adapted_settings
from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer
from maskrcnn_benchmark.checkpoint.opening import LoadedFile
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.data.datasets.evaluation import check_expectations, results_of
from maskrcnn_benchmark.data.loader import BatchLoader
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
from maskrcnn_benchmark.layers.norms import FrozenBatchNorm2d
from maskrcnn_benchmark.modeling.detector.detector import Detector
from maskrcnn_benchmark.numerics import get_numerics
from maskrcnn_benchmark.solver.lr_scheduler import WarmupSchedule
from maskrcnn_benchmark.utils.comm import get_world_size, is_main_process
from maskrcnn_benchmark.utils.miscellaneous import mkdir, save_labels

logger = logging.getLogger("maskrcnn_benchmark")


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
        Name of a test set -> its results; empty without test, and in all processes but the first.

    Raises:
        ConfigError: if the configuration cannot be run here.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, when a checkpoint has been saved.
    """
    if not cfg.DATASETS.TRAIN:
        raise ConfigError("nothing to train on: DATASETS.TRAIN names no data set")
    with _start(cfg, training=True, local_rank=local_rank) as place:
        cfg, opened = _open_weights(cfg, cfg.MODEL.WEIGHT, use_latest=resume)
        parts = _build_parts(cfg, place=place)
        start_iteration = _restore(cfg, parts.checkpointer, opened, resume=resume)
        # Mistakes in the data, that of the tests too, show before the training and before anything is written.
        loader = build_train_loader(cfg, start_iteration)
        loaders = _open_tests(cfg) if cfg.SOLVER.TEST_PERIOD > 0 or not skip_test else []
        _check_classes(cfg, loader, loaders, resumed=opened if start_iteration else None)
        describe_run(cfg)
        about = _train_parts(
            cfg,
            parts,
            loader,
            place=place,
            start_iteration=start_iteration,
            test_loaders=loaders,
        )
        _share_statistics(parts.model)
        results = {} if skip_test else _score(cfg, parts.model, loaders, place=place)
        if is_main_process():
            path = os.path.join(cfg.OUTPUT_DIR, MODEL_FILE)
            logger.info("Saving the model for use elsewhere to %s", path)
            write_model_file(path, parts.model.state_dict(), cfg, about=about, results=results)
        return results


def test(  # The verb, not a test of ours; so PT028 does not apply.
    cfg: Config,
    *,
    checkpoint: str | None = None,  # noqa: PT028
    local_rank: int | None = None,  # noqa: PT028
) -> dict[str, Any]:
    """Score a model on every set of DATASETS.TEST.

    Args:
        cfg: everything about the run.
        checkpoint: path, URL or catalog name, or an exported `.onnx` file; None: OUTPUT_DIR's last
            checkpoint, else MODEL.WEIGHT.
        local_rank: for launchers that do not set LOCAL_RANK.

    Returns:
        Name of a test set -> its results; empty in all processes but the first.
    """
    if not cfg.DATASETS.TEST:
        raise ConfigError("nothing to test on: DATASETS.TEST names no data set")
    with _start(cfg, training=False, local_rank=local_rank) as place:
        if checkpoint is not None and is_exported(checkpoint):
            exported = open_exported(checkpoint, device=place.device)
            check_scorable(cfg, exported, checkpoint)
            return _score(cfg, exported, _open_tests(cfg), place=place)
        use_latest = checkpoint is None
        cfg, opened = _open_weights(cfg, checkpoint or cfg.MODEL.WEIGHT, use_latest=use_latest)
        model = build_model(cfg).to(place.device)
        checkpointer = Checkpointer(model, save_dir=cfg.OUTPUT_DIR, save_to_disk=False)
        if opened is None:
            logger.warning(
                "The network is tested with random weights: there is no checkpoint in OUTPUT_DIR (%s), and "
                "MODEL.WEIGHT is empty. Name one with --ckpt FILE",
                cfg.OUTPUT_DIR,
            )
        elif use_latest and checkpointer.has_checkpoint():
            checkpointer.resume(opened)
        else:
            checkpointer.load_weights(opened)
        loaders = _open_tests(cfg)
        if opened is not None:
            names = opened.rest.get("class_names")
            _check_tests(cfg, loaders, class_names=names, source=opened.path)
        return _score(cfg, model, loaders, place=place)


def _open_weights(
    cfg: Config, source: str, *, use_latest: bool
) -> tuple[Config, LoadedFile | None]:
    """Read what the network starts from, and adapt the configuration to it before anything is built.

    Args:
        cfg: of the run.
        source: path, URL, catalog name, or "" for none.
        use_latest: whether OUTPUT_DIR's last checkpoint, if there is one, goes before `source`.
    """
    last = Checkpointer(nn.Module(), save_dir=cfg.OUTPUT_DIR, save_to_disk=False)
    if use_latest and last.has_checkpoint():
        opened = last.open_last()
    elif source:
        opened = open_weights(cfg, source)
    else:
        return cfg, None
    return adapt_config(cfg, opened.converted), opened


@contextmanager
def _start(cfg: Config, *, training: bool, local_rank: int | None) -> Iterator[Place]:
    """Check what can be checked before anything is built, find the other processes, open the log."""
    cfg.validate_run(world_size=max(wanted_world_size(), get_world_size()), training=training)
    check_writable(cfg.OUTPUT_DIR)
    device, remark = choose_device(cfg.MODEL.DEVICE)
    with ExitStack() as stack:
        stack.enter_context(disk_errors(cfg.OUTPUT_DIR))
        place = stack.enter_context(process_group(device, local_rank=local_rank))
        stack.enter_context(run_log(cfg.OUTPUT_DIR if training else None, rank=place.rank))
        if remark:
            logger.warning(remark)
        where = "GPUs" if place.device.type == "cuda" else f"{place.device.type} processes"
        logger.info("Using %d %s", place.world_size, where)
        seed_everything(cfg.SEED)
        yield place


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
            "many times slower (with MODEL.DEVICE cpu this warning goes away)"
        )
    return device, ""


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators: for initial weights and foreign code."""
    random.seed(seed)
    numpy.random.seed(seed % (1 << 32))
    torch.manual_seed(seed)


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What moves in a training run."""

    model: Detector
    optimizer: Optimizer
    scheduler: WarmupSchedule
    scaler: GradScaler | None
    checkpointer: Checkpointer


def _build_parts(cfg: Config, *, place: Place) -> _Parts:
    model = build_model(cfg).to(place.device)
    optimizer = build_optimizer(cfg, model)
    scheduler = build_lr_scheduler(cfg, optimizer)
    scaler = make_grad_scaler(device=place.device, dtype=step_settings(cfg)["dtype"])
    checkpointer = Checkpointer(
        model,
        optimizer,
        scheduler,
        cfg.OUTPUT_DIR,
        stateful={} if scaler is None else {"scaler": scaler},
        find_in_catalog=lambda name: find_in_model_catalog(cfg, name),
        keep=cfg.SOLVER.CHECKPOINT_KEEP,
    )
    return _Parts(
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        scaler=scaler,
        checkpointer=checkpointer,
    )


def _restore(
    cfg: Config, checkpointer: Checkpointer, opened: LoadedFile | None, *, resume: bool
) -> int:
    """Load the run's last checkpoint, or else the initial weights; return the iteration to start at."""
    if resume and checkpointer.has_checkpoint():
        data = checkpointer.resume(opened)
        if (seed := data.get("seed", cfg.SEED)) != cfg.SEED:
            logger.warning(
                "This run was started with SEED %s and goes on with SEED %s", seed, cfg.SEED
            )
        return int(data.get("iteration", 0))
    if opened is None:
        logger.info("No checkpoint found. Initializing model from scratch")
        if any(isinstance(part, FrozenBatchNorm2d) for part in checkpointer.model.modules()):
            logger.warning(
                "The backbone's norms are frozen, which only makes sense with pretrained weights "
                "(MODEL.WEIGHT): without, activations grow from block to block and training diverges. "
                "From scratch, use MODEL.RESNETS.NORM GN (or BN, with several images per process) "
                "and MODEL.BACKBONE.FREEZE_CONV_BODY_AT 0"
            )
        return 0
    _, data = checkpointer.load_weights(opened, allow_mismatch=True)
    if iteration := data.get("iteration"):
        logger.info(
            "%s was saved at iteration %s; only its weights are used. To go on with that run, set "
            "OUTPUT_DIR to its folder",
            cfg.MODEL.WEIGHT,
            iteration,
        )
    return 0


def _open_tests(cfg: Config) -> list[BatchLoader]:
    """Read and check what the model will be scored on: a loader for each of DATASETS.TEST."""
    loaders = build_test_loaders(cfg)
    for loader in loaders:
        check_expectations(
            loader.dataset,
            cfg.TEST.EXPECTED_RESULTS,
            box_only=scores_proposals(cfg),
            iou_types=iou_types(cfg),
        )
    return loaders


def _check_tests(
    cfg: Config, loaders: Sequence[BatchLoader], *, class_names: Sequence[str] | None, source: str
) -> None:
    """Refuse test sets whose labels mean other classes than the model's."""
    for name, loader in zip(cfg.DATASETS.TEST, loaders, strict=False):
        found = class_names_of(loader.dataset)
        check_class_order(class_names, found, source=source, dataset=f"data set {name!r}")


def _check_classes(
    cfg: Config,
    loader: BatchLoader,
    test_loaders: Sequence[BatchLoader],
    *,
    resumed: LoadedFile | None,
) -> None:
    """Refuse data whose labels mean other classes than those of the checkpoint, or of each other."""
    names, trained_on = class_names_of(loader.dataset), f"DATASETS.TRAIN {cfg.DATASETS.TRAIN}"
    if resumed is not None:
        saved = resumed.rest.get("class_names")
        check_class_order(saved, names, source=resumed.path, dataset=trained_on)
    _check_tests(cfg, test_loaders, class_names=names, source=trained_on)


def _train_parts(
    cfg: Config,
    parts: _Parts,
    loader: BatchLoader,
    *,
    place: Place,
    start_iteration: int,
    test_loaders: Sequence[BatchLoader],
) -> dict[str, Any]:
    """Train; return what the checkpoints say beside the weights."""
    save_labels([loader.dataset], cfg.OUTPUT_DIR)
    about = _about(cfg, loader.dataset)
    if cfg.SOLVER.COMPILE:
        compile_losses(parts.model, cfg.SOLVER.COMPILE)
    model = distribute(parts.model, place)
    with ExitStack() as stack:
        writers: Sequence[MetricWriter] = ()
        if is_main_process():
            writers = open_writers(
                cfg.OUTPUT_DIR, start_iteration=start_iteration, tensorboard=cfg.LOG.TENSORBOARD
            )
            for writer in writers:
                stack.enter_context(closing(writer))
        evaluate = None
        if cfg.SOLVER.TEST_PERIOD > 0 and cfg.DATASETS.TEST:
            evaluate = build_evaluation(
                cfg,
                model,
                test_loaders,
                names=cfg.DATASETS.TEST,
                validation_loader=build_validation_loader(cfg),
                device=place.device,
                writers=writers,
            )
        train_loop(
            model,
            loader,
            parts.optimizer,
            parts.scheduler,
            checkpointer=parts.checkpointer,
            device=place.device,
            max_iteration=cfg.SOLVER.MAX_ITER,
            start_iteration=start_iteration,
            periods=Periods(
                log=cfg.SOLVER.LOG_PERIOD,
                checkpoint=cfg.SOLVER.CHECKPOINT_PERIOD,
                test=cfg.SOLVER.TEST_PERIOD,
            ),
            scaler=parts.scaler,
            evaluate=evaluate,
            writers=writers,
            checkpoint_data=about,
            describe_image=lambda index: describe_image(loader.dataset, index),
            **step_settings(cfg),
        )
    return about


def _about(cfg: Config, dataset: Any) -> dict[str, Any]:
    """Return what a checkpoint needs to be used on its own: plain data."""
    return {
        "seed": cfg.SEED,
        "config": cfg.dump(),
        "class_names": class_names_of(dataset),
        "category_ids": category_ids_of(dataset),
        **_about_keypoints(cfg, dataset),
        "numerics": get_numerics(cfg.MODEL.NUMERICS).name,
        "settings": adapted_settings(cfg),
        "version": __version__,
    }


def _about_keypoints(cfg: Config, dataset: Any) -> dict[str, Any]:
    """Return what the keypoints of a model that finds them are, as far as the data set says."""
    schema = getattr(dataset, "keypoint_schema", None)
    return {"keypoints": schema.to_dict()} if cfg.MODEL.KEYPOINT_ON and schema else {}


def class_names_of(dataset: Any) -> list[str] | None:
    """Return the names by label, background first; None for a data set that has none."""
    names = getattr(dataset, "class_names", None)
    return None if names is None else [str(name) for name in names]


def category_ids_of(dataset: Any) -> list[int] | None:
    """Return the data set's own id of each label from 1 on; None for one whose ids are the labels."""
    ids = getattr(dataset, "contiguous_category_id_to_json_id", None)
    return None if ids is None else [int(ids[label]) for label in sorted(ids)]


def describe_image(dataset: Any, index: int) -> str:
    """Name the image at an index of a data set, as well as the data set can."""
    info = dataset.get_img_info(index) if hasattr(dataset, "get_img_info") else {}
    if "id" not in info:
        return str(info.get("file_name", f"number {index}"))
    return f"{info['file_name']} (id {info['id']})" if "file_name" in info else f"id {info['id']}"


def _share_statistics(model: nn.Module) -> None:
    """Give all processes the first one's buffers (batch norm statistics), which are what is saved."""
    if get_world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def _score(
    cfg: Config, model: nn.Module, loaders: Sequence[BatchLoader], *, place: Place
) -> dict[str, Any]:
    score = build_inference(cfg, model, device=place.device)
    results = {}
    for name, loader in zip(cfg.DATASETS.TEST, loaders, strict=True):
        folder = os.path.join(cfg.OUTPUT_DIR, "inference", name)
        mkdir(folder)
        outcome = score(
            loader, name, output_folder=folder, expected_results=cfg.TEST.EXPECTED_RESULTS
        )
        if outcome is not None:
            results[name] = results_of(outcome)
    return results
