"""A trained network in one file: weights and manifest as `.safetensors`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from maskrcnn_benchmark.build.weight_settings import adapted_settings
from maskrcnn_benchmark.checkpoint.files import write_safetensors
from maskrcnn_benchmark.checkpoint.manifest import Manifest
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.numerics import get_numerics

MODEL_FILE = "model_final.safetensors"
_PREPROCESSING = ("PIXEL_MEAN", "PIXEL_STD", "TO_BGR255", "MIN_SIZE_TEST", "MAX_SIZE_TEST")


def make_manifest(
    cfg: Config,
    *,
    class_names: Sequence[str] | None = None,
    category_ids: Sequence[int] | None = None,
    keypoints: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Manifest:
    """Describe a network.

    Args:
        cfg: what it is built from, adapted to its weights.
        class_names: name of each label, background first.
        category_ids: id in the data set of each label from 1 on.
        keypoints: `KeypointSchema` as plain data.
        metrics: data set -> task -> metric -> value.
        provenance: where the weights come from.
    """
    return Manifest(
        classes=None if class_names is None else list(class_names),
        category_ids=None if category_ids is None else list(category_ids),
        keypoints=None if keypoints is None else dict(keypoints),
        numerics=get_numerics(cfg.MODEL.NUMERICS).name,
        preprocessing={key: cfg.INPUT[key] for key in _PREPROCESSING},
        settings=adapted_settings(cfg),
        config=cfg.dump(),
        metrics=dict(metrics or {}),
        provenance=dict(provenance or {}),
    )


def write_model_file(
    path: str | os.PathLike[str],
    weights: Mapping[str, Tensor],
    cfg: Config,
    *,
    about: Mapping[str, Any],
    results: Mapping[str, Any] | None = None,
) -> None:
    """Write the network of a run.

    Args:
        path: ends in `.safetensors`.
        weights: the network's state.
        cfg: of the run.
        about: what the run's checkpoints say beside the weights: class_names, category_ids, ...
        results: data set -> what the final test found; only figures are kept.

    Raises:
        CheckpointError: if the file cannot be written.
    """
    figures = {name: getattr(each, "results", None) for name, each in (results or {}).items()}
    manifest = make_manifest(
        cfg,
        class_names=about.get("class_names"),
        category_ids=about.get("category_ids"),
        keypoints=about.get("keypoints"),
        metrics={name: found for name, found in figures.items() if isinstance(found, dict)},
        provenance={
            "dialect": "native",
            "trained_on": list(cfg.DATASETS.TRAIN),
            "started_from": cfg.MODEL.WEIGHT,
            "iteration": cfg.SOLVER.MAX_ITER,
            "seed": cfg.SEED,
        },
    )
    write_safetensors(path, weights, manifest)
