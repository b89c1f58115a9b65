"""INPUT, DATASETS and DATALOADER keys -> transforms, data sets and loaders."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.config.catalog import find_dataset
from maskrcnn_benchmark.data import datasets as dataset_classes
from maskrcnn_benchmark.data.collate_batch import BBoxAugCollator
from maskrcnn_benchmark.data.datasets.channels import PHOTOGRAPH, ImageFormat
from maskrcnn_benchmark.data.datasets.concat_dataset import ConcatDataset
from maskrcnn_benchmark.data.loader import BatchLoader, make_test_loader, make_train_loader
from maskrcnn_benchmark.data.transforms.continuous import ToContinuous
from maskrcnn_benchmark.data.transforms.transforms import (
    ColorJitter,
    Compose,
    Normalize,
    RandomHorizontalFlip,
    RandomVerticalFlip,
    Resize,
    ToTensor,
)
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.numerics import get_numerics
from maskrcnn_benchmark.utils.comm import get_rank, get_world_size

logger = logging.getLogger(__name__)

_PHOTOGRAPHS_ONLY = ("PascalVOCDataset", "CityScapesDataset")


def build_transforms(cfg: Config, *, is_train: bool = True) -> Compose:
    """Jitter, resize, flips, to-tensor and normalise; at test time without jitter and flips."""
    keys = cfg.INPUT
    numerics = get_numerics(cfg.MODEL.NUMERICS)
    rule, offset = numerics.resize, numerics.box_offset
    conventions = {"box_offset": offset, "keypoint_offset": numerics.keypoint_offset}
    # Boxes of data sets are inclusive, their keypoints name pixels.
    first: list[Callable[..., Any]] = (
        [] if offset else [ToContinuous(keypoint_offset=numerics.keypoint_offset)]
    )
    if is_train:
        jitter = ColorJitter(keys.BRIGHTNESS, keys.CONTRAST, keys.SATURATION, keys.HUE)
        resize = Resize(keys.MIN_SIZE_TRAIN, keys.MAX_SIZE_TRAIN, rule=rule)
    else:
        jitter = ColorJitter()
        resize = Resize(keys.MIN_SIZE_TEST, keys.MAX_SIZE_TEST, rule=rule)
    flips: list[Callable[..., Any]] = [
        RandomHorizontalFlip(keys.HORIZONTAL_FLIP_PROB_TRAIN if is_train else 0.0, **conventions),
        RandomVerticalFlip(keys.VERTICAL_FLIP_PROB_TRAIN if is_train else 0.0, **conventions),
    ]
    to_input: list[Callable[..., Any]] = [
        ToTensor(),
        Normalize(keys.PIXEL_MEAN, keys.PIXEL_STD, to_bgr255=keys.TO_BGR255),
    ]
    if rule == "torchvision":
        # It resizes what is normalised already.
        return Compose([*first, jitter, *flips, *to_input, resize])
    return Compose([*first, jitter, resize, *flips, *to_input])


def image_format_of(cfg: Config) -> ImageFormat:
    """What the images are made of."""
    return ImageFormat(channels=cfg.INPUT.CHANNELS, bit_depth=cfg.INPUT.BIT_DEPTH)


def build_train_loader(cfg: Config, start_iter: int = 0) -> BatchLoader:
    """Loader of DATASETS.TRAIN from iteration `start_iter` to SOLVER.MAX_ITER."""
    dataset = build_train_dataset(cfg)
    return make_train_loader(
        dataset,
        images_per_batch=cfg.SOLVER.IMS_PER_BATCH,
        num_iterations=cfg.SOLVER.MAX_ITER,
        start_iteration=start_iter,
        seed=cfg.SEED,
        rank=get_rank(),
        world_size=get_world_size(),
        aspect_grouping=cfg.DATALOADER.ASPECT_RATIO_GROUPING,
        size_divisible=cfg.DATALOADER.SIZE_DIVISIBILITY,
        num_workers=_num_workers(cfg),
        pin_memory=_pins_memory(cfg),
    )


def build_test_loaders(cfg: Config) -> list[BatchLoader]:
    """One loader for each of DATASETS.TEST, in that order."""
    # Test-time augmentation transforms the images itself.
    raw = cfg.TEST.BBOX_AUG.ENABLED
    transforms = None if raw else build_transforms(cfg, is_train=False)
    datasets = [
        make_dataset(
            name,
            find_dataset(cfg, name),
            for_training=False,
            transforms=transforms,
            on_error=cfg.DATALOADER.ON_ERROR,
            require_masks=cfg.MODEL.MASK_ON and not cfg.MODEL.RPN_ONLY,
            image_format=image_format_of(cfg),
            **_keypoint_arguments(cfg, required=False),
        )
        for name in cfg.DATASETS.TEST
    ]
    for name, dataset in zip(cfg.DATASETS.TEST, datasets, strict=True):
        _check_num_classes(cfg, dataset, f"data set {name!r}")
        _check_num_keypoints(cfg, dataset, f"data set {name!r}")
    return [_test_loader(cfg, dataset, raw=raw) for dataset in datasets]


def build_validation_loader(cfg: Config) -> BatchLoader:
    """Loader of all of DATASETS.TEST together, with the images that training would use.

    For the losses during training, which need images with annotations.
    """
    datasets = [
        make_dataset(
            name,
            find_dataset(cfg, name),
            for_training=True,
            transforms=build_transforms(cfg, is_train=False),
            on_error=cfg.DATALOADER.ON_ERROR,
            require_masks=cfg.MODEL.MASK_ON,
            image_format=image_format_of(cfg),
            **_keypoint_arguments(cfg),
        )
        for name in _names(cfg, "TEST")
    ]
    joined = join_datasets(datasets)
    _check_num_classes(cfg, joined, f"DATASETS.TEST {cfg.DATASETS.TEST}")
    _check_num_keypoints(cfg, joined, f"DATASETS.TEST {cfg.DATASETS.TEST}")
    return _test_loader(cfg, joined)


def build_train_dataset(cfg: Config) -> Any:
    """DATASETS.TRAIN as one data set, with the training transforms."""
    transforms = build_transforms(cfg, is_train=True)
    datasets = []
    for name in _names(cfg, "TRAIN"):
        dataset = make_dataset(
            name,
            find_dataset(cfg, name),
            for_training=True,
            transforms=transforms,
            on_error=cfg.DATALOADER.ON_ERROR,
            require_masks=cfg.MODEL.MASK_ON,
            image_format=image_format_of(cfg),
            **_keypoint_arguments(cfg),
        )
        logger.info("Training on %d images of %s", len(dataset), name)
        _check_num_classes(cfg, dataset, f"data set {name!r}")
        _check_num_keypoints(cfg, dataset, f"data set {name!r}")
        datasets.append(dataset)
    joined = join_datasets(datasets)
    _log_keypoints(cfg, joined)
    return joined


def make_dataset(
    name: str,
    entry: Mapping[str, Any],
    *,
    for_training: bool,
    transforms: Callable[..., Any] | None,
    on_error: str = "stop",
    require_masks: bool = False,
    require_keypoints: bool = False,
    keypoint_flip_pairs: Sequence[tuple[int, int]] = (),
    keypoint_sigmas: Sequence[float] = (),
    image_format: ImageFormat = PHOTOGRAPH,
) -> Any:
    """Make the data set that an entry of a catalog describes.

    Args:
        name: its name in the catalog.
        entry: {"factory": a class, or its name in `data.datasets`, "args": its keyword arguments}.
        for_training: leave out images without annotations (COCO), difficult objects (VOC), or let other images stand in
            for those without objects (Cityscapes).
        transforms: called with (image, target).
        on_error: "stop" or "skip" what is wrong with the data, where the class knows how.
        require_masks: an object without a mask is something wrong.
        require_keypoints: annotations without keypoints are something wrong.
        keypoint_flip_pairs: see `COCODataset`.
        keypoint_sigmas: see `COCODataset`.
        image_format: channels and bits of the images.
    """
    factory = entry["factory"]
    if isinstance(factory, str):
        factory = getattr(dataset_classes, factory, None)
    if factory is None:
        known = ", ".join(sorted(dataset_classes.__all__))
        raise ConfigError(
            f"data set {name!r} wants the class {entry['factory']!r}, which "
            f"maskrcnn_benchmark.data.datasets does not have; it has {known}. "
            "The catalog may also give the class itself"
        )
    args = dict(entry["args"])
    if entry["factory"] == "COCODataset":
        args["remove_images_without_annotations"] = for_training
        args["on_error"] = on_error
        args["require_masks"] = require_masks
        args["require_keypoints"] = require_keypoints
        args["keypoint_flip_pairs"] = keypoint_flip_pairs
        args["keypoint_sigmas"] = keypoint_sigmas
        args["image_format"] = image_format
    elif not image_format.is_photograph and entry["factory"] in _PHOTOGRAPHS_ONLY:
        raise ConfigError(
            f"INPUT.CHANNELS {image_format.channels}, INPUT.BIT_DEPTH {image_format.bit_depth}: data set {name!r} "
            f"({entry['factory']}) reads colour images of 8 bits only; data in COCO's format may have any channels"
        )
    if entry["factory"] == "PascalVOCDataset":
        args["use_difficult"] = not for_training
        args["on_error"] = on_error
    if entry["factory"] == "CityScapesDataset":
        args["replace_empty"] = for_training
    return factory(**args, transforms=transforms)


def join_datasets(datasets: Sequence[Any]) -> Any:
    """One data set of several; a single one stays as it is."""
    return datasets[0] if len(datasets) == 1 else ConcatDataset(datasets)


def _names(cfg: Config, key: str) -> tuple[str, ...]:
    names: tuple[str, ...] = cfg.DATASETS.TRAIN if key == "TRAIN" else cfg.DATASETS.TEST
    if not names:
        raise ConfigError(
            f"DATASETS.{key} is empty: name at least one data set of DATASETS.CUSTOM or of the "
            "catalog, or give a folder with --data"
        )
    return names


def _test_loader(cfg: Config, dataset: Any, *, raw: bool = False) -> BatchLoader:
    """Loader of a test set; `raw` images are not made one tensor."""
    return make_test_loader(
        dataset,
        images_per_batch=cfg.TEST.IMS_PER_BATCH,
        rank=get_rank(),
        world_size=get_world_size(),
        aspect_grouping=cfg.DATALOADER.ASPECT_RATIO_GROUPING,
        size_divisible=cfg.DATALOADER.SIZE_DIVISIBILITY,
        num_workers=_num_workers(cfg),
        pin_memory=_pins_memory(cfg),
        collate=BBoxAugCollator() if raw else None,
    )


def _num_workers(cfg: Config) -> int:
    """DATALOADER.NUM_WORKERS, but no more than there are processors: the stream is the same."""
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        processors = os.cpu_count() or 1
    return min(cfg.DATALOADER.NUM_WORKERS, processors)


def _pins_memory(cfg: Config) -> bool:
    return str(cfg.MODEL.DEVICE).startswith("cuda") and torch.cuda.is_available()


def _keypoint_arguments(cfg: Config, *, required: bool = True) -> dict[str, Any]:
    """What `make_dataset` wants to know about keypoints; files without are no mistake unless they train some."""
    if not cfg.MODEL.KEYPOINT_ON:
        return {}
    return {
        "require_keypoints": required,
        "keypoint_flip_pairs": cfg.DATASETS.KEYPOINT_FLIP_PAIRS,
        "keypoint_sigmas": cfg.DATASETS.KEYPOINT_OKS_SIGMAS,
    }


def _check_num_keypoints(cfg: Config, dataset: Any, what: str) -> None:
    """Raise ConfigError if the model predicts another number of keypoints than the data set has."""
    schema = getattr(dataset, "keypoint_schema", None)
    if not cfg.MODEL.KEYPOINT_ON or schema is None:
        return
    key, wanted = "MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES", cfg.MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES
    if len(schema.names) != wanted:
        raise ConfigError(
            f"{what} has {len(schema.names)} keypoints per object, but {key} is {wanted}; set {key} {len(schema.names)}"
        )


def _log_keypoints(cfg: Config, dataset: Any) -> None:
    """Say which keypoints change places in mirrored images: a mistake there spoils training silently."""
    schema = getattr(dataset, "keypoint_schema", None)
    if not cfg.MODEL.KEYPOINT_ON or schema is None:
        return
    pairs = ", ".join(f"{schema.names[a]} - {schema.names[b]}" for a, b in schema.flip_pairs)
    logger.info(
        "Training %d keypoints per object; these change places in mirrored images: %s",
        len(schema.names),
        pairs or "none (see DATASETS.KEYPOINT_FLIP_PAIRS)",
    )


def _check_num_classes(cfg: Config, dataset: Any, what: str) -> None:
    """Raise ConfigError if labels of the data set have no place in the model."""
    class_names = getattr(dataset, "class_names", ())
    if cfg.MODEL.RETINANET_ON:
        key, num_classes = "MODEL.RETINANET.NUM_CLASSES", cfg.MODEL.RETINANET.NUM_CLASSES
    elif cfg.MODEL.RPN_ONLY:
        return
    else:
        key, num_classes = "MODEL.ROI_BOX_HEAD.NUM_CLASSES", cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES
    if len(class_names) > num_classes:
        raise ConfigError(
            f"{what} has {len(class_names) - 1} categories, so {key} must be at least "
            f"{len(class_names)} (background included), got {num_classes}; "
            f"set {key} {len(class_names)}"
        )
    if class_names and len(class_names) < num_classes:
        logger.warning(
            "%s has %d categories, but %s is %d (background included: %d would do); the others "
            "are never seen",
            what,
            len(class_names) - 1,
            key,
            num_classes,
            len(class_names),
        )
