"""A file of `maskrcnn export` -> a detector, and the configuration it was made from."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import torch

from maskrcnn_benchmark.checkpoint.manifest import Manifest, read_manifest
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.errors import CheckpointError, ConfigError
from maskrcnn_benchmark.modeling.detector.onnx_detector import OnnxDetector

logger = logging.getLogger(__name__)

ENDING = ".onnx"


def is_exported(source: str | os.PathLike[str]) -> bool:
    """Whether a name is that of an exported file."""
    return Path(source).suffix == ENDING


def open_exported(
    path: str | os.PathLike[str], *, device: str | torch.device = "cpu"
) -> OnnxDetector:
    """Open an exported detector; on the CPU where ONNX Runtime has not got the device.

    Raises:
        MissingExtraError: without ONNX Runtime.
        CheckpointError: if the file cannot be read, or is no detector.
    """
    kind = torch.device(device).type
    if kind != "cpu":
        try:
            return OnnxDetector(path, device=kind)
        except CheckpointError as error:
            logger.warning("%s. Going on with the CPU", error)
    return OnnxDetector(path)


def manifest_of(detector: OnnxDetector, path: str | os.PathLike[str]) -> Manifest:
    """What an exported file says about itself.

    Raises:
        CheckpointError: if it says nothing, or it cannot be read.
    """
    manifest = read_manifest(detector.metadata, {}, path=Path(path))
    if manifest is None:
        raise CheckpointError(
            f"{path} says nothing about its classes and preprocessing; it was not written by `maskrcnn export`. "
            "Export it again"
        )
    return manifest


def config_of(
    manifest: Manifest, path: str | os.PathLike[str], given: Config | None = None
) -> Config:
    """A configuration of one's own: the given one, else that which the file was made from.

    Raises:
        ConfigError: if there is neither.
    """
    cfg = get_defaults()
    if given is not None:
        cfg = given.clone()
        cfg.defrost()
    elif manifest.config is not None:
        cfg.merge_from_text(manifest.config, name=os.fspath(path))
    else:
        raise ConfigError(
            f"{path} has no configuration inside; give the one it was made from (config=...)"
        )
    return cfg


def check_scorable(cfg: Config, detector: OnnxDetector, path: str | os.PathLike[str]) -> None:
    """Raise if an exported detector cannot be scored as the configuration asks.

    Raises:
        ConfigError: names the key, and what to do.
    """
    if cfg.TEST.BBOX_AUG.ENABLED:
        raise ConfigError(
            f"TEST.BBOX_AUG.ENABLED: {path} is a whole detector, whose inner results test-time augmentation cannot "
            "reach. Test the checkpoint it was made from, or set TEST.BBOX_AUG.ENABLED False"
        )
    if detector.graph_input.kind == "image":
        raise ConfigError(
            f"{path} resizes images itself, which the test's loader does as well. Export with --input tensor or "
            "pixels; the network is the same"
        )
