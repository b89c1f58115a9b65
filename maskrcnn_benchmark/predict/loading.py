"""A run's folder or a checkpoint -> the network with its weights, its configuration and the names of its classes."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from maskrcnn_benchmark.build.checkpointer import find_in_model_catalog
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.build.run import choose_device
from maskrcnn_benchmark.build.run_folder import CONFIG_FILE
from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer
from maskrcnn_benchmark.checkpoint.files import read_checkpoint
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.errors import CheckpointError, ConfigError

logger = logging.getLogger(__name__)

LABELS_FILE = "labels.json"
FINAL_CHECKPOINT = "model_final.pth"
BACKGROUND = "__background__"

_REMOTE = ("catalog://", "http://", "https://")

# Buffers that a network works out for itself, so that files may lack them.
_DERIVED = ("cell_anchors", "num_batches_tracked")


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A network that is ready to predict.

    Attributes:
        network: in evaluation mode, on `device`.
        cfg: what it was built from.
        device: where it is.
        class_names: name of each label, background first.
        category_ids: label -> category id of the data set it was trained on; the label itself where that is unknown.
    """

    network: nn.Module
    cfg: Config
    device: torch.device
    class_names: tuple[str, ...]
    category_ids: dict[int, int]


def load_model(
    source: str | os.PathLike[str],
    *,
    config: Config | str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
    score_threshold: float,
) -> LoadedModel:
    """Build the network and load its weights.

    Args:
        source: the folder of a run (its last checkpoint is taken), a checkpoint file, a URL or a `catalog://` name.
        config: None: `config.yml` beside the checkpoint, else the configuration inside it.
        device: None: what MODEL.DEVICE says, or the CPU where there is no such device.
        score_threshold: the network need not return detections below it.

    Raises:
        CheckpointError: if there are no weights, they cannot be read, or they are not all of this network.
        ConfigError: if there is no configuration, or a wrong one.
    """
    weights = find_weights(source)
    cfg = find_config(weights, config)
    heads = cfg.MODEL.ROI_HEADS
    heads.SCORE_THRESH = min(heads.SCORE_THRESH, score_threshold)
    # Masks are pasted into the original image, not into the network's input.
    cfg.MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS = False
    place, remark = choose_device(str(device or cfg.MODEL.DEVICE))
    if device and remark:
        logger.warning(remark)
    network = build_model(cfg)
    checkpointer = Checkpointer(
        network, find_in_catalog=lambda name: find_in_model_catalog(cfg, name), save_to_disk=False
    )
    match, data = checkpointer.load_weights(weights)
    missing = [key for key in match.missing if not any(part in key for part in _DERIVED)]
    if missing:
        raise CheckpointError(
            f"{weights} lacks {len(missing)} weights of the network, the first is {missing[0]}; "
            "a network that is not fully trained predicts noise. Is it the checkpoint of a "
            "detector, and the configuration the one it was trained with?"
        )
    class_names, category_ids = find_classes(
        data.get("class_names"), Path(weights).parent / LABELS_FILE, count=_num_classes(cfg)
    )
    return LoadedModel(
        network=network.eval().to(place),
        cfg=cfg,
        device=place,
        class_names=class_names,
        category_ids=category_ids,
    )


def find_weights(source: str | os.PathLike[str]) -> str:
    """The checkpoint file that is meant by a run's folder, a file, a URL or a catalog name."""
    name = os.fspath(source)
    if name.startswith(_REMOTE) or not Path(name).is_dir():
        return name
    # An empty network: only `last_checkpoint` is looked at.
    last = Checkpointer(nn.Module(), save_dir=name, save_to_disk=False).get_checkpoint_file()
    candidates = [Path(last)] if last else [Path(name) / FINAL_CHECKPOINT]
    candidates += sorted(Path(name).glob("model_*.pth"), reverse=True)
    for candidate in candidates:
        if candidate.is_file():
            return str(candidate)
    raise CheckpointError(
        f"there is no checkpoint in the folder {name}; expected `last_checkpoint`, "
        f"{FINAL_CHECKPOINT} or model_NNNNNNN.pth. Name a run's OUTPUT_DIR or a checkpoint file"
    )


def find_config(weights: str, config: Config | str | os.PathLike[str] | None = None) -> Config:
    """A configuration of one's own: the one given, the one beside the weights, or the one inside them."""
    if isinstance(config, Config):
        cfg = config.clone()
        cfg.defrost()
        return cfg
    cfg = get_defaults()
    beside = Path(weights).parent / CONFIG_FILE
    if config is not None:
        cfg.merge_from_file(config)
    elif beside.is_file():
        cfg.merge_from_file(beside)
    else:
        inside = None if weights.startswith(_REMOTE) else read_checkpoint(weights).get("config")
        if not isinstance(inside, str):
            raise ConfigError(
                f"{weights} does not say how its network is built, and there is no {CONFIG_FILE} "
                "beside it; give the configuration it was trained with (config=...)"
            )
        cfg.merge_from_text(inside, name=weights)
    return cfg


def find_classes(
    names: Any, labels_file: Path, *, count: int
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Name of each label, and label -> category id.

    Args:
        names: what the checkpoint says, background first; None if it says nothing.
        labels_file: category id -> name, written by training.
        count: how many labels the network has, background included; a label without a name is called by its number.
    """
    labels = _read_labels(labels_file)
    class_names = [str(name) for name in names or [BACKGROUND, *labels.values()]]
    ids = list(labels) if list(labels.values()) == class_names[1:] else []
    class_names += [f"class {label}" for label in range(len(class_names), count)]
    category_ids = {label: label for label in range(1, len(class_names))}
    category_ids.update(enumerate(ids, start=1))
    return tuple(class_names), category_ids


def _read_labels(path: Path) -> dict[int, str]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {int(category): str(name) for category, name in content.items()}
    except (ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path} should map category ids to names, as training writes it: {error}. Repair it or "
            "remove it"
        ) from error


def _num_classes(cfg: Config) -> int:
    """Labels the network can give, background included; a proposal network has none."""
    if cfg.MODEL.RETINANET_ON:
        return int(cfg.MODEL.RETINANET.NUM_CLASSES)
    return 1 if cfg.MODEL.RPN_ONLY else int(cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES)
