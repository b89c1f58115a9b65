"""The old name of test-time augmentation; see `engine.test_time_aug`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from maskrcnn_benchmark.structures.bounding_box import BoxList


def im_detect_bbox_aug(
    model: nn.Module, images: Sequence[Any], device: torch.device | str
) -> list[BoxList]:
    """What a model finds in images seen at several sizes and mirrored.

    The sizes are those of the *global* config: INPUT.MIN_SIZE_TEST, then TEST.BBOX_AUG. The old function gave boxes
    only, and failed for a model with masks; here masks and keypoints come with them.

    Args:
        model: a detector on `device`, in evaluation mode.
        images: as the data set has them, without transforms.
        device: where batches go.

    Returns:
        One BoxList per image, in network pixels of the first size.
    """
    from maskrcnn_benchmark.build.test_time_aug import build_global_test_time_aug

    return build_global_test_time_aug()(model, images, device)
