"""TEST.BBOX_AUG -> test-time augmentation."""

from __future__ import annotations

from typing import Any

from maskrcnn_benchmark.build.data import build_transforms
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.config import cfg as global_config
from maskrcnn_benchmark.engine.test_time_aug import (
    TestTimeAugmentation,
    Transform,
    make_views,
)


def build_test_time_aug(cfg: Config, *, dataset: Any = None) -> TestTimeAugmentation:
    """Return what runs a model over all views of a batch, whether or not TEST.BBOX_AUG is on.

    Args:
        cfg: read for the sizes and the transforms.
        dataset: whose keypoints are looked for, if any; it knows which change places in a mirrored image.
    """
    keys = cfg.TEST.BBOX_AUG

    def transform_at(short_side: int, long_side: int) -> Transform:
        sized = cfg.clone()
        sized.defrost()
        sized.INPUT.MIN_SIZE_TEST = short_side
        sized.INPUT.MAX_SIZE_TEST = long_side
        return build_transforms(sized, is_train=False)

    views = make_views(
        transform_at,
        min_size=cfg.INPUT.MIN_SIZE_TEST,
        max_size=cfg.INPUT.MAX_SIZE_TEST,
        flip=keys.H_FLIP,
        scales=keys.SCALES,
        scales_max_size=keys.MAX_SIZE,
        scales_flip=keys.SCALE_H_FLIP,
    )
    return TestTimeAugmentation(
        views,
        size_divisible=cfg.DATALOADER.SIZE_DIVISIBILITY,
        keypoint_flip_pairs=_flip_pairs(cfg, dataset),
    )


def build_global_test_time_aug() -> TestTimeAugmentation:
    """Return the same of the global config, for the old entry point."""
    return build_test_time_aug(global_config)


def _flip_pairs(cfg: Config, dataset: Any) -> tuple[tuple[int, int], ...] | None:
    schema = getattr(dataset, "keypoint_schema", None)
    if schema is not None:
        pairs: tuple[tuple[int, int], ...] = schema.flip_pairs
        return pairs
    return cfg.DATASETS.KEYPOINT_FLIP_PAIRS or None
