"""A whole detector in one line of Python, for those who do not want a config file.

    from maskrcnn_benchmark import MaskRCNN
    model = MaskRCNN(num_classes=4, pretrained="imagenet")

The config behind it is a shipped one with the backbone and the classes put in; it is kept as `model.cfg`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch import nn

from maskrcnn_benchmark.build.config_files import find_config
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.config import Config, get_defaults
from maskrcnn_benchmark.errors import ConfigError

# Task -> what is in the names of its configs and of Detectron's weights.
_TASKS = {"faster": "e2e_faster_rcnn", "mask": "e2e_mask_rcnn", "keypoint": "e2e_keypoint_rcnn"}
_RESNEXT = {"X-101-32x8d": ("R-101", 32, 8), "X-152-32x8d": ("R-152", 32, 8)}
_IMAGENET = {
    "R-50": "MSRA/R-50",
    "R-101": "MSRA/R-101",
    "X-101-32x8d": "FAIR/20171220/X-101-32x8d",
}


def FasterRCNN(  # noqa: N802
    *,
    num_classes: int,
    backbone: str = "R-50-FPN",
    pretrained: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Faster R-CNN (arXiv:1506.01497) in training mode, on the CPU.

    Args:
        num_classes: background included (label 0).
        backbone: R-{18,34,50,101,152}-{C4,FPN}, X-{101,152}-32x8d-FPN, timm/NAME-FPN or torchvision/NAME-FPN.
        pretrained: None for random weights; "imagenet" or "coco" for published ones, downloaded once; or a file in any
            dialect (`checkpoint.load`). Layers of other classes keep their random weights.
        settings: config keys of your own, such as {"MODEL.ROI_HEADS.DETECTIONS_PER_IMG": 300}.

    Raises:
        ConfigError: for a backbone that does not exist, or has no published weights.
        CheckpointError: if the weights cannot be had or do not fit.
    """
    return _build("faster", num_classes, backbone, pretrained, settings)


def MaskRCNN(  # noqa: N802
    *,
    num_classes: int,
    backbone: str = "R-50-FPN",
    pretrained: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Mask R-CNN (arXiv:1703.06870); arguments as of `FasterRCNN`."""
    return _build("mask", num_classes, backbone, pretrained, settings)


def KeypointRCNN(  # noqa: N802
    *,
    num_classes: int = 2,
    num_keypoints: int = 17,
    backbone: str = "R-50-FPN",
    pretrained: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Keypoint R-CNN (arXiv:1703.06870, section 5) for `num_keypoints`; other arguments as of `FasterRCNN`."""
    own = {"MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES": num_keypoints, **(settings or {})}
    return _build("keypoint", num_classes, backbone, pretrained, own)


def RetinaNet(  # noqa: N802
    *,
    num_classes: int,
    backbone: str = "R-50-FPN",
    pretrained: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> nn.Module:
    """RetinaNet (arXiv:1708.02002); arguments as of `FasterRCNN`."""
    return _build("retinanet", num_classes, backbone, pretrained, settings)


def _build(
    task: str,
    num_classes: int,
    backbone: str,
    pretrained: str | None,
    settings: Mapping[str, Any] | None,
) -> nn.Module:
    cfg = _make_config(task, num_classes, backbone, settings)
    cfg.validate_run(training=False)
    source = _find_weights(task, backbone, pretrained)
    if source is None:
        model = build_model(cfg)
    else:
        # Here, not at the top: it reads files, which most who build a model do not need.
        from maskrcnn_benchmark.build.checkpointer import build_with_weights

        model, cfg = build_with_weights(cfg, source, allow_other_classes=True)
    cfg.freeze()
    model.cfg = cfg  # type: ignore[assignment]
    return model


def _make_config(
    task: str, num_classes: int, backbone: str, settings: Mapping[str, Any] | None
) -> Config:
    cfg = get_defaults()
    if task == "retinanet":
        cfg.merge_from_file(find_config("retinanet/retinanet_R-50-FPN_1x.yaml"))
    else:
        kind = "C4" if backbone.endswith("-C4") else "FPN"
        if kind == "C4" and task == "keypoint":
            raise ConfigError(
                f"backbone {backbone!r}: Keypoint R-CNN needs a pyramid (R-50-FPN, ...)."
            )
        cfg.merge_from_file(find_config(f"{_TASKS[task]}_R_50_{kind}_1x.yaml"))
    pairs: list[Any] = ["MODEL.WEIGHT", "", "MODEL.ROI_BOX_HEAD.NUM_CLASSES", num_classes]
    pairs += ["MODEL.RETINANET.NUM_CLASSES", num_classes]
    pairs += _backbone_settings(backbone, is_retinanet=task == "retinanet")
    for key, value in (settings or {}).items():
        pairs += [key, value]
    cfg.merge_from_list(pairs)
    return cfg


def _backbone_settings(backbone: str, *, is_retinanet: bool) -> list[Any]:
    if backbone.startswith(("timm/", "torchvision/")):
        return ["MODEL.BACKBONE.CONV_BODY", backbone]
    name, _, kind = backbone.rpartition("-")
    if kind not in ("C4", "FPN") or (is_retinanet and kind != "FPN"):
        kinds = "FPN" if is_retinanet else "C4 or FPN"
        raise ConfigError(
            f"backbone: expected a name that ends with {kinds} (R-50-FPN, ...), got {backbone!r}."
        )
    pairs: list[Any] = []
    if name in _RESNEXT:
        name, groups, width = _RESNEXT[name]
        pairs = ["MODEL.RESNETS.NUM_GROUPS", groups, "MODEL.RESNETS.WIDTH_PER_GROUP", width]
        pairs += ["MODEL.RESNETS.STRIDE_IN_1X1", False]
    suffix = "-RETINANET" if is_retinanet else ""
    return ["MODEL.BACKBONE.CONV_BODY", f"{name}-{kind}{suffix}", *pairs]


def _find_weights(task: str, backbone: str, pretrained: str | None) -> str | None:
    """Path or catalog name of what `pretrained` means."""
    if pretrained is not None and not isinstance(pretrained, str | os.PathLike):
        raise ConfigError(
            f"pretrained: expected None, 'imagenet', 'coco' or a file of weights, got {pretrained!r}."
        )
    if pretrained == "imagenet":
        name = backbone.rpartition("-")[0]
        if name not in _IMAGENET:
            raise ConfigError(
                f"pretrained='imagenet': there are no published weights for {backbone!r}; there are for "
                f"{', '.join(_IMAGENET)}. Give a file of weights: pretrained='path/to/weights.pth'."
            )
        return f"catalog://ImageNetPretrained/{_IMAGENET[name]}"
    if pretrained == "coco":
        from maskrcnn_benchmark.config.paths_catalog import ModelCatalog

        wanted = f"{_TASKS.get(task, 'retinanet')}_{backbone}_1x"
        for key in ModelCatalog.C2_DETECTRON_MODELS:
            if key.endswith(f"/{wanted}"):
                return f"catalog://Caffe2Detectron/COCO/{key}"
        known = ", ".join(key.partition("/")[2] for key in ModelCatalog.C2_DETECTRON_MODELS)
        raise ConfigError(
            f"pretrained='coco': there are no published weights for {wanted}; there are {known}. "
            "Give a file of weights: pretrained='path/to/weights.pth'."
        )
    return pretrained
