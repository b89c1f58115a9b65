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
from maskrcnn_benchmark.data.datasets.concat_dataset import ConcatDataset
from maskrcnn_benchmark.data.loader import BatchLoader, make_test_loader, make_train_loader
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
from maskrcnn_benchmark.utils.comm import get_rank, get_world_size

logger = logging.getLogger(__name__)


def build_transforms(cfg: Config, *, is_train: bool = True) -> Compose:
    """Jitter, resize, flips, to-tensor and normalise; at test time without jitter and flips."""
    keys = cfg.INPUT
    if is_train:
        jitter = ColorJitter(keys.BRIGHTNESS, keys.CONTRAST, keys.SATURATION, keys.HUE)
        resize = Resize(keys.MIN_SIZE_TRAIN, keys.MAX_SIZE_TRAIN)
    else:
        jitter = ColorJitter()
        resize = Resize(keys.MIN_SIZE_TEST, keys.MAX_SIZE_TEST)
    return Compose(
        [
            jitter,
            resize,
            RandomHorizontalFlip(keys.HORIZONTAL_FLIP_PROB_TRAIN if is_train else 0.0),
            RandomVerticalFlip(keys.VERTICAL_FLIP_PROB_TRAIN if is_train else 0.0),
            ToTensor(),
            Normalize(keys.PIXEL_MEAN, keys.PIXEL_STD, to_bgr255=keys.TO_BGR255),
        ]
    )


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
    transforms = _test_transforms(cfg)
    datasets = [
        make_dataset(
            name,
            find_dataset(cfg, name),
            for_training=False,
            transforms=transforms,
            on_error=cfg.DATALOADER.ON_ERROR,
        )
        for name in cfg.DATASETS.TEST
    ]
    for name, dataset in zip(cfg.DATASETS.TEST, datasets, strict=True):
        _check_num_classes(cfg, dataset, f"data set {name!r}")
    return [_test_loader(cfg, dataset) for dataset in datasets]


def build_validation_loader(cfg: Config) -> BatchLoader:
    """Loader of all of DATASETS.TEST together, with the images that training would use.

    For the losses during training, which need images with annotations.
    """
    datasets = [
        make_dataset(
            name,
            find_dataset(cfg, name),
            for_training=True,
            transforms=_test_transforms(cfg),
            on_error=cfg.DATALOADER.ON_ERROR,
            require_masks=cfg.MODEL.MASK_ON,
        )
        for name in _names(cfg, "TEST")
    ]
    joined = join_datasets(datasets)
    _check_num_classes(cfg, joined, f"DATASETS.TEST {cfg.DATASETS.TEST}")
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
        )
        logger.info("Training on %d images of %s", len(dataset), name)
        _check_num_classes(cfg, dataset, f"data set {name!r}")
        datasets.append(dataset)
    return join_datasets(datasets)


def make_dataset(
    name: str,
    entry: Mapping[str, Any],
    *,
    for_training: bool,
    transforms: Callable[..., Any] | None,
    on_error: str = "stop",
    require_masks: bool = False,
) -> Any:
    """Make the data set that an entry of a catalog describes.

    Args:
        name: its name in the catalog.
        entry: {"factory": class name in `data.datasets`, "args": its keyword arguments}.
        for_training: leave out images without annotations (COCO) or difficult objects (VOC).
        transforms: called with (image, target).
        on_error: "stop" or "skip" what is wrong with the data, where the class knows how.
        require_masks: an object without a mask is something wrong.
    """
    factory = getattr(dataset_classes, entry["factory"], None)
    if factory is None:
        known = ", ".join(sorted(dataset_classes.__all__))
        raise ConfigError(
            f"data set {name!r} wants the class {entry['factory']!r}, which "
            f"maskrcnn_benchmark.data.datasets does not have; it has {known}"
        )
    args = dict(entry["args"])
    if entry["factory"] == "COCODataset":
        args["remove_images_without_annotations"] = for_training
        args["on_error"] = on_error
        args["require_masks"] = require_masks
    if entry["factory"] == "PascalVOCDataset":
        args["use_difficult"] = not for_training
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


def _test_transforms(cfg: Config) -> Compose | None:
    """None with test-time augmentation, which transforms the raw images itself."""
    return None if cfg.TEST.BBOX_AUG.ENABLED else build_transforms(cfg, is_train=False)


def _test_loader(cfg: Config, dataset: Any) -> BatchLoader:
    return make_test_loader(
        dataset,
        images_per_batch=cfg.TEST.IMS_PER_BATCH,
        rank=get_rank(),
        world_size=get_world_size(),
        aspect_grouping=cfg.DATALOADER.ASPECT_RATIO_GROUPING,
        size_divisible=cfg.DATALOADER.SIZE_DIVISIBILITY,
        num_workers=_num_workers(cfg),
        pin_memory=_pins_memory(cfg),
        collate=BBoxAugCollator() if cfg.TEST.BBOX_AUG.ENABLED else None,
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
