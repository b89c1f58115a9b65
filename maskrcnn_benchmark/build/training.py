"""The configuration's words about the training loop -> its arguments."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from maskrcnn_benchmark.build.test_time_aug import build_test_time_aug
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.data.datasets.evaluation import results_of
from maskrcnn_benchmark.engine.inference import inference
from maskrcnn_benchmark.engine.metric_writers import MetricWriter
from maskrcnn_benchmark.engine.validation import validation_losses
from maskrcnn_benchmark.modeling.detector.detector import Detector
from maskrcnn_benchmark.numerics import get_numerics
from maskrcnn_benchmark.utils.metric_logger import MetricLogger

logger = logging.getLogger("maskrcnn_benchmark")

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def build_dtype(cfg: Config) -> torch.dtype:
    """Return what DTYPE names."""
    return _DTYPES[cfg.DTYPE]


def iou_types(cfg: Config) -> tuple[str, ...]:
    """Return what a model is scored on."""
    types = ["bbox"]
    if cfg.MODEL.MASK_ON:
        types.append("segm")
    if cfg.MODEL.KEYPOINT_ON:
        types.append("keypoints")
    return tuple(types)


def scores_proposals(cfg: Config) -> bool:
    """Whether a model is scored on its proposals alone, by recall."""
    return bool(cfg.MODEL.RPN_ONLY and not cfg.MODEL.RETINANET_ON)


def build_inference(cfg: Config, model: nn.Module, *, device: torch.device) -> Callable[..., Any]:
    """Return a function (loader, name, output_folder, expected_results) that scores the model."""

    def score(
        loader: Any,
        name: str,
        *,
        output_folder: str | None = None,
        expected_results: Sequence[Any] = (),
    ) -> Any:
        augmentation = None
        if cfg.TEST.BBOX_AUG.ENABLED:
            augmentation = build_test_time_aug(cfg, dataset=loader.dataset)
        return inference(
            model,
            loader,
            name,
            iou_types=iou_types(cfg),
            box_only=scores_proposals(cfg),
            bbox_aug=cfg.TEST.BBOX_AUG.ENABLED,
            device=device,
            expected_results=expected_results,
            expected_results_sigma_tol=cfg.TEST.EXPECTED_RESULTS_SIGMA_TOL,
            output_folder=output_folder,
            dtype=build_dtype(cfg),
            test_time_aug=augmentation,
            numerics=get_numerics(cfg.MODEL.NUMERICS),
        )

    return score


def build_evaluation(
    cfg: Config,
    model: nn.Module,
    loaders: Sequence[Any],
    *,
    names: Sequence[str],
    validation_loader: Any,
    device: torch.device,
    writers: Sequence[MetricWriter] = (),
) -> Callable[[int], MetricLogger]:
    """Return what TEST_PERIOD calls: it scores the test sets and returns the losses on them.

    Args:
        cfg: read for what is scored.
        model: the one in training.
        loaders: of the test sets.
        names: of the test sets.
        validation_loader: of images with annotations, for the losses.
        device: where the model is.
        writers: get a record per test set, and one for the losses.
    """
    score = build_inference(cfg, model, device=device)

    def record(iteration: int, **values: Any) -> None:
        for writer in writers:
            writer.write({"kind": "test", "iteration": iteration, **values})

    def evaluate(iteration: int) -> MetricLogger:
        for name, loader in zip(names, loaders, strict=True):
            outcome = score(loader, f"{name} [Validation]")
            if outcome is not None:
                measured = results_of(outcome).results
                results = {task: dict(values) for task, values in measured.items()}
                record(iteration, dataset=name, results=results)
        meters = validation_losses(model, validation_loader, device=device, dtype=build_dtype(cfg))
        losses = {name: meter.global_avg for name, meter in meters.meters.items()}
        record(iteration, losses=losses)
        return meters

    return evaluate


def compile_losses(model: Detector, backend: str) -> None:
    """Compile what training computes; the model is changed.

    The first batch gets a graph of its own; what differs in the next ones becomes a symbol, so a few graphs serve all.

    Args:
        model: the detector.
        backend: of `torch.compile`, as SOLVER.COMPILE names it.
    """
    logger.info("Compiling: the first iterations take minutes")
    compiled = torch.compile(model.compute_losses, backend=backend, fullgraph=True)
    model.compute_losses = compiled  # type: ignore[method-assign]


def step_settings(cfg: Config) -> dict[str, Any]:
    """Return the arguments of `train_loop` that configuration keys give directly."""
    return {
        "dtype": build_dtype(cfg),
        "clip_grad_norm": cfg.SOLVER.CLIP_GRAD_NORM,
        "seed": cfg.SEED,
    }
