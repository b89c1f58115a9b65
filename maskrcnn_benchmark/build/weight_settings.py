"""What weights need -> the configuration: whose numerics, which preprocessing, where the stride is."""

from __future__ import annotations

import importlib
import logging
import re
from dataclasses import replace
from typing import Any

from maskrcnn_benchmark.checkpoint.architecture import infer_architecture
from maskrcnn_benchmark.checkpoint.dialects import NAMES, UNKNOWN
from maskrcnn_benchmark.checkpoint.dialects.base import IMAGENET_INPUT, Converted, Settings
from maskrcnn_benchmark.checkpoint.opening import LoadedFile
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.config.section import DEFAULT
from maskrcnn_benchmark.errors import CheckpointError, ConfigError
from maskrcnn_benchmark.numerics import AUTO, get_numerics

logger = logging.getLogger(__name__)

_ORIGIN = "weights of "
_NUMERICS = "MODEL.NUMERICS"
# A backbone trained on ImageNet fixes how its input looks and where it strides; the rest is the detector's.
_OF_A_BODY = (
    "INPUT.PIXEL_MEAN",
    "INPUT.PIXEL_STD",
    "INPUT.TO_BGR255",
    "MODEL.RESNETS.STRIDE_IN_1X1",
)
# Habits of a program rather than the meaning of its weights: what was chosen for these goes first.
_HABITS = (
    ".SCORE_THRESH",
    ".NMS",
    ".NMS_TH",
    ".NMS_THRESH",
    ".INFERENCE_TH",
    ".DETECTIONS_PER_IMG",
    ".PRE_NMS_TOP_N",
    "_NMS_TOP_N_TRAIN",
    "_NMS_TOP_N_TEST",
    ".FPN_POST_NMS_PER_BATCH",
    ".STRADDLE_THRESH",
    "_BETA",
    ".BBOX_REG_WEIGHT",
)
# Bodies of other libraries, and what weights of ImageNet for them are called here.
_FOREIGN_BODY = re.compile(r"(torchvision|timm)/(.+?)(?:-FPN-RETINANET|-FPN)?")
_OF_LIBRARIES = ("torchvision", "timm", UNKNOWN)
_OWN_PARTS = ("backbone.", "rpn.", "roi_heads.")
_PER_CHANNEL = ("INPUT.PIXEL_MEAN", "INPUT.PIXEL_STD")
# How the network is built and trained is the configuration's to say, whatever weights it starts from.
_NOT_ADAPTED = (
    "DATALOADER.",
    "DATASETS.",
    "SOLVER.",
    "INPUT.MIN_SIZE",
    "INPUT.MAX_SIZE",
    "INPUT.CHANNELS",
    "MODEL.META_ARCHITECTURE",
    "MODEL.BACKBONE.",
    "MODEL.FPN.",
    "MODEL.CASCADE_ON",
    "MODEL.KEYPOINT_ON",
    "MODEL.MASK_ON",
    "MODEL.RETINANET_ON",
    "MODEL.RPN_ONLY",
    "MODEL.CLS_AGNOSTIC_BBOX_REG",
)
# What the configurations of pyramids have in common, and the shapes of weights do not show.
_OF_PYRAMIDS = (
    ("MODEL.RPN.PRE_NMS_TOP_N_TRAIN", 2000),
    ("MODEL.RPN.PRE_NMS_TOP_N_TEST", 1000),
    ("MODEL.RPN.POST_NMS_TOP_N_TEST", 1000),
    ("MODEL.RPN.FPN_POST_NMS_TOP_N_TEST", 1000),
    ("MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO", 2),
    ("MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO", 2),
    ("MODEL.ROI_KEYPOINT_HEAD.POOLER_SAMPLING_RATIO", 2),
)
_NOT_ADAPTED_ENDINGS = (
    ".NUM_CLASSES",
    ".NORM",
    "_CHANNELS",
    ".NUM_GROUPS",
    ".WIDTH_PER_GROUP",
    ".CONV_LAYERS",
    ".CONV_HEAD_DIM",
    ".MLP_HEAD_DIM",
    ".NUM_STACKED_CONVS",
    ".NUM_CONVS",
    ".FEATURE_EXTRACTOR",
    ".PREDICTOR",
    ".POOLER_RESOLUTION",
    ".POOLER_SCALES",
    ".RESOLUTION",
    ".SHARE_BOX_FEATURE_EXTRACTOR",
    ".STAGE_WITH_DCN",
    ".WITH_MODULATED_DCN",
    ".DEFORMABLE_GROUPS",
    ".USE_FPN",
    ".ANCHOR_SIZES",
    ".ANCHOR_STRIDE",
)


def adapt_config(cfg: Config, converted: Converted) -> Config:
    """The configuration with the settings that its weights need, so that they mean here what they meant elsewhere.

    With MODEL.NUMERICS auto they are set, and each change is logged; thresholds and limits only where none were
    chosen. A backbone only asks for its preprocessing and its strides, and does not override what was chosen for them.
    With MODEL.NUMERICS set by hand nothing is changed; what differs is logged as a warning.

    Args:
        cfg: of the run; it is not changed.
        converted: weights that the network starts from.

    Returns:
        `cfg` itself where nothing changes, else a changed copy, as frozen as it is.
    """
    converted = _complete_for_body(cfg.MODEL.BACKBONE.CONV_BODY, converted)
    differing = _find_differing(cfg, converted)
    if not differing:
        return cfg
    name = NAMES.get(converted.dialect, converted.dialect)
    adapted = cfg.clone()
    adapted.defrost()
    for key, needed in differing.items():
        section, leaf = adapted.locate(key)
        chosen = section.origin_of(leaf) != DEFAULT and section[leaf] != _default_of(key)
        if key.endswith(_HABITS) and (chosen or cfg.MODEL.NUMERICS != AUTO):
            logger.debug("%s: %s stays; %s has %s", key, section[leaf], name, needed)
            continue
        if cfg.MODEL.NUMERICS != AUTO or (chosen and not converted.is_detector):
            logger.warning(
                "%s is %s (%s), but these weights (%s) need %s: detections will not be those of their own program",
                key,
                section[leaf],
                section.origin_of(leaf),
                name,
                needed,
            )
            continue
        logger.info("%s: %s -> %s, as these weights (%s) need it", key, section[leaf], needed, name)
        section.assign(leaf, needed, origin=f"{_ORIGIN}{name}")
    if adapted == cfg:
        return cfg
    if cfg.is_frozen():
        adapted.freeze()
    return adapted


def adapted_settings(cfg: Config) -> dict[str, Any]:
    """The keys that `adapt_config` has set, for checkpoints: who goes on from them needs the same."""
    return {
        section.key(leaf): section[leaf]
        for section, leaf in cfg.walk()
        if section.origin_of(leaf).startswith(_ORIGIN)
    }


def _complete_for_body(body: str, converted: Converted) -> Converted:
    """Weights of another library's body with the input that they were trained with, as far as the library states it."""
    found = _FOREIGN_BODY.fullmatch(body)
    if found is None or converted.is_detector or converted.dialect not in _OF_LIBRARIES:
        return converted
    library, network = found.groups()
    if converted.dialect == UNKNOWN:
        if any(name.startswith(_OWN_PARTS) for name in converted.weights):
            return converted  # Of a detector of the user's own, which may look at its input in another way.
        converted = replace(converted, dialect=library, settings=IMAGENET_INPUT)
    stated = _input_stated_by_timm(network) if library == "timm" else ()
    return replace(converted, settings=(*converted.settings, *stated))


def _input_stated_by_timm(network: str) -> Settings:
    """Mean and deviation of a network's published weights; most have those of ImageNet, some 0.5."""
    try:
        known = importlib.import_module("timm").get_pretrained_cfg(network)
    except (ImportError, RuntimeError):
        return ()
    if known is None or len(known.mean) != len(known.std):
        return ()
    return (
        ("INPUT.PIXEL_MEAN", tuple(map(float, known.mean))),
        ("INPUT.PIXEL_STD", tuple(map(float, known.std))),
    )


def _find_differing(cfg: Config, converted: Converted) -> dict[str, Any]:
    """Key -> what the weights need, where the configuration says something else."""
    draft = get_defaults()
    differing: dict[str, Any] = {}
    for key, needed in converted.settings:
        if not _is_adapted(key, converted) or not _is_in_use(key, cfg):
            continue
        if key.startswith("INPUT.PIXEL_") and len(needed) != cfg.INPUT.CHANNELS:
            continue  # Of colours, and the images are none.
        section, leaf = draft.locate(key)
        section.assign(leaf, needed, origin="weights")
        own, leaf = cfg.locate(key)
        is_same = section[leaf] == own[leaf]
        if key in _PER_CHANNEL and len(section[leaf]) != cfg.INPUT.CHANNELS:
            continue  # Weights of colour images, whose filters are spread over other channels.
        if key == _NUMERICS:
            is_same = get_numerics(section[leaf]) == get_numerics(own[leaf])
        if is_same:
            differing.pop(key, None)
        else:
            differing[key] = section[leaf]
    return differing


def _is_adapted(key: str, converted: Converted) -> bool:
    if not converted.is_detector:
        return key in _OF_A_BODY
    return not key.startswith(_NOT_ADAPTED) and not key.endswith(_NOT_ADAPTED_ENDINGS)


def _is_in_use(key: str, cfg: Config) -> bool:
    """Whether a key means anything for this kind of network."""
    model = cfg.MODEL
    if key.startswith(("MODEL.RPN.", "MODEL.ROI_")) and model.RETINANET_ON:
        return False
    kinds = {
        "MODEL.RETINANET.": model.RETINANET_ON,
        "MODEL.ROI_MASK_HEAD.": model.MASK_ON,
        "MODEL.ROI_KEYPOINT_HEAD.": model.KEYPOINT_ON,
        "MODEL.ROI_CASCADE.": model.CASCADE_ON,
    }
    return next((is_on for start, is_on in kinds.items() if key.startswith(start)), True)


def _default_of(key: str) -> Any:
    section, leaf = get_defaults().locate(key)
    return section[leaf]


def infer_config(opened: LoadedFile) -> Config:
    """A configuration for weights that came without one: from their shapes, and from what their dialect is known for.

    Raises:
        ConfigError: if the weights are no detector, or one that cannot be told from its shapes.
    """
    converted = opened.converted
    remedy = "give the configuration it was trained with (config=..., or --config)"
    if not converted.is_detector:
        raise ConfigError(
            f"{opened.path} does not say how its network is built, and holds no detector that shows it; {remedy}"
        )
    shapes = {name: tuple(value.shape) for name, value in converted.weights.items()}
    try:
        network = infer_architecture(shapes)
    except CheckpointError as error:
        raise ConfigError(
            f"{opened.path} does not say how its network is built; {remedy}: {error}"
        ) from error
    cfg = get_defaults()
    is_pyramid = "FPN" in str(dict(network).get("MODEL.BACKBONE.CONV_BODY"))
    for key, value in (*network, *(_OF_PYRAMIDS if is_pyramid else ()), *converted.settings):
        section, leaf = cfg.locate(key)
        section.assign(leaf, value, origin=opened.path)
    logger.info(
        "%s came without a configuration; its network was told from the weights", opened.path
    )
    return cfg
