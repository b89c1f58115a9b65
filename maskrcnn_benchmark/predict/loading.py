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

from maskrcnn_benchmark.build.checkpointer import open_weights
from maskrcnn_benchmark.build.exported import config_of, is_exported, manifest_of, open_exported
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.build.model_file import MODEL_FILE
from maskrcnn_benchmark.build.run import choose_device
from maskrcnn_benchmark.build.run_folder import CONFIG_FILE
from maskrcnn_benchmark.build.weight_settings import adapt_config, infer_config
from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer
from maskrcnn_benchmark.checkpoint.matching import IMPLIED
from maskrcnn_benchmark.checkpoint.opening import LoadedFile
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.errors import CheckpointError, ConfigError
from maskrcnn_benchmark.structures.keypoint import KeypointSchema

logger = logging.getLogger(__name__)

LABELS_FILE = "labels.json"
FINAL_CHECKPOINT = "model_final.pth"
BACKGROUND = "__background__"

_REMOTE = ("catalog://", "http://", "https://")


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A network that is ready to predict.

    Attributes:
        network: in evaluation mode, on `device`.
        cfg: what it was built from.
        device: where it is.
        class_names: name of each label, background first.
        category_ids: label -> category id of the data set it was trained on; the label itself where that is unknown.
        keypoint_schema: what the keypoints are, as far as the checkpoint says.
        takes_images: whether the network wants RGB 0-255 of any size, and resizes by itself (an exported one may).
    """

    network: nn.Module
    cfg: Config
    device: torch.device
    class_names: tuple[str, ...]
    category_ids: dict[int, int]
    keypoint_schema: KeypointSchema | None = None
    takes_images: bool = False


def load_model(
    source: str | os.PathLike[str],
    *,
    config: Config | str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
    score_threshold: float,
) -> LoadedModel:
    """Build the network and load its weights.

    Args:
        source: the folder of a run (its last checkpoint is taken), a file of weights in any dialect, a URL or a
            `catalog://` name; or a `.onnx` file of `maskrcnn export`.
        config: None: see `find_config`.
        device: None: what MODEL.DEVICE says, or the CPU where there is no such device.
        score_threshold: the network need not return detections below it.

    Raises:
        CheckpointError: if there are no weights, they cannot be read, or they are not all of this network.
        ConfigError: if there is no configuration, or a wrong one.
    """
    weights = find_weights(source)
    given = _read_config(config)
    if is_exported(weights):
        return _load_exported(weights, given, device=device, score_threshold=score_threshold)
    opened = open_weights(given or get_defaults(), weights)
    cfg = adapt_config(find_config(weights, given, opened=opened), opened.converted)
    heads, retinanet = cfg.MODEL.ROI_HEADS, cfg.MODEL.RETINANET
    heads.SCORE_THRESH = min(heads.SCORE_THRESH, score_threshold)
    retinanet.INFERENCE_TH = min(retinanet.INFERENCE_TH, score_threshold)
    # Masks are pasted into the original image, not into the network's input.
    cfg.MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS = False
    place, remark = choose_device(str(device or cfg.MODEL.DEVICE))
    if device and remark:
        logger.warning(remark)
    network = build_model(cfg)
    match, data = Checkpointer(network, save_to_disk=False).load_weights(opened)
    missing = [key for key in match.missing if not IMPLIED.search(key)]
    if missing:
        raise CheckpointError(
            f"{weights} lacks {len(missing)} weights of the network, the first is {missing[0]}; "
            "a network that is not fully trained predicts noise. Is it the checkpoint of a "
            "detector, and the configuration the one it was trained with?"
        )
    class_names, category_ids = find_classes(
        data.get("class_names"),
        Path(weights).parent / LABELS_FILE,
        count=_num_classes(cfg),
        category_ids=data.get("category_ids"),
    )
    return LoadedModel(
        network=network.eval().to(place),
        cfg=cfg,
        device=place,
        class_names=class_names,
        category_ids=category_ids,
        keypoint_schema=KeypointSchema.from_dict(data.get("keypoints")),
    )


def _load_exported(
    path: str,
    config: Config | None,
    *,
    device: str | torch.device | None,
    score_threshold: float,
) -> LoadedModel:
    """A file of `maskrcnn export`; its threshold is the one it was exported with."""
    detector = open_exported(path, device=device or "cpu")
    manifest = manifest_of(detector, path)
    cfg = config_of(manifest, path, config)
    keys = cfg.MODEL
    own = keys.RETINANET.INFERENCE_TH if keys.RETINANET_ON else keys.ROI_HEADS.SCORE_THRESH
    if score_threshold < own and not keys.RPN_ONLY:
        logger.warning(
            "%s was exported to find what scores higher than %g; nothing between %g and that comes out of it",
            path,
            own,
            score_threshold,
        )
    class_names, category_ids = find_classes(
        manifest.classes,
        Path(path).parent / LABELS_FILE,
        count=_num_classes(cfg),
        category_ids=manifest.category_ids,
    )
    return LoadedModel(
        network=detector,
        cfg=cfg,
        device=torch.device("cpu"),
        class_names=class_names,
        category_ids=category_ids,
        keypoint_schema=KeypointSchema.from_dict(manifest.keypoints),
        takes_images=detector.graph_input.kind == "image",
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
    candidates.append(Path(name) / MODEL_FILE)
    for candidate in candidates:
        if candidate.is_file():
            return str(candidate)
    raise CheckpointError(
        f"there is no checkpoint in the folder {name}; expected `last_checkpoint`, "
        f"{FINAL_CHECKPOINT}, model_NNNNNNN.pth or {MODEL_FILE}. Name a run's OUTPUT_DIR or a checkpoint file"
    )


def find_config(
    weights: str,
    config: Config | str | os.PathLike[str] | None = None,
    *,
    opened: LoadedFile | None = None,
) -> Config:
    """A configuration of one's own for weights.

    The one given; else the one inside a file with a manifest, `config.yml` beside the weights, or the one inside them;
    else one that is told from the weights themselves, with the conventions of their dialect.

    Args:
        weights: file, URL or `catalog://` name.
        config: what to use instead of looking.
        opened: the weights, where they were read already.

    Raises:
        ConfigError: if there is none, or a wrong one.
    """
    given = _read_config(config)
    if given is not None:
        return given
    cfg = get_defaults()
    beside = Path(weights).parent / CONFIG_FILE
    if beside.is_file() and (opened is None or "manifest" not in opened.rest):
        cfg.merge_from_file(beside)
        return cfg
    opened = opened or open_weights(cfg, weights)
    inside = opened.rest.get("config")
    if isinstance(inside, str):
        cfg.merge_from_text(inside, name=weights)
        return cfg
    if opened.converted.is_detector:
        return infer_config(opened)
    raise ConfigError(
        f"{weights} does not say how its network is built, and there is no {CONFIG_FILE} "
        "beside it; give the configuration it was trained with (config=...)"
    )


def _read_config(config: Config | str | os.PathLike[str] | None) -> Config | None:
    if config is None:
        return None
    if isinstance(config, Config):
        cfg = config.clone()
        cfg.defrost()
        return cfg
    cfg = get_defaults()
    cfg.merge_from_file(config)
    return cfg


def find_classes(
    names: Any, labels_file: Path, *, count: int, category_ids: Any = None
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Name of each label, and label -> category id.

    Args:
        names: what the checkpoint says, background first; None if it says nothing.
        labels_file: category id -> name, written by training.
        count: how many labels the network has, background included; a label without a name is called by its number.
        category_ids: what the checkpoint says, for labels from 1 on; None if it says nothing.
    """
    labels = _read_labels(labels_file)
    class_names = [str(name) for name in names or [BACKGROUND, *labels.values()]]
    ids = list(labels) if list(labels.values()) == class_names[1:] else []
    class_names += [f"class {label}" for label in range(len(class_names), count)]
    found = {label: label for label in range(1, len(class_names))}
    found.update(enumerate(ids or [int(each) for each in category_ids or ()], start=1))
    return tuple(class_names), found


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
