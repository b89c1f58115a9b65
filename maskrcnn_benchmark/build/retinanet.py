"""Config -> RetinaNet."""

from __future__ import annotations

from collections.abc import Sequence

from maskrcnn_benchmark.build.parts import has_fpn
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.boxes import DeltaWeights
from maskrcnn_benchmark.modeling.backbone import Backbone
from maskrcnn_benchmark.modeling.detector.retinanet import RetinaNet
from maskrcnn_benchmark.modeling.rpn.anchor_generator import AnchorGenerator, octave_sizes
from maskrcnn_benchmark.modeling.rpn.retinanet import (
    RetinaNetHead,
    RetinaNetLoss,
    RetinaNetModule,
    RetinaNetPostProcessor,
)
from maskrcnn_benchmark.numerics import Numerics


def build_retinanet(cfg: Config, *, backbone: Backbone, numerics: Numerics) -> RetinaNet:
    """The one-stage detector behind a backbone.

    Raises:
        ConfigError: if the maps do not have the anchors' strides, or masks or keypoints are asked for.
    """
    for key in ("MASK_ON", "KEYPOINT_ON"):
        if getattr(cfg.MODEL, key):
            raise ConfigError(
                f"MODEL.{key}: RetinaNet (MODEL.RETINANET_ON) finds boxes only. Set MODEL.{key} False, or take a "
                "Mask or Keypoint R-CNN config."
            )
    return RetinaNet(
        backbone=backbone,
        rpn=build_retinanet_module(
            cfg, in_channels=backbone.out_channels, numerics=numerics, strides=backbone.strides
        ),
        size_divisible=max(cfg.DATALOADER.SIZE_DIVISIBILITY, 32 if has_fpn(cfg) else 0),
    )


def build_retinanet_module(
    cfg: Config, *, in_channels: int, numerics: Numerics, strides: Sequence[int] | None = None
) -> RetinaNetModule:
    """Anchors, head, loss and post-processor.

    Args:
        cfg: the config.
        in_channels: of each map.
        numerics: conventions.
        strides: of the backbone's maps, to check the anchors against; None if they are not known.

    Raises:
        ConfigError: if the strides differ.
    """
    keys = cfg.MODEL.RETINANET
    if strides is not None and tuple(keys.ANCHOR_STRIDES) != tuple(strides):
        raise ConfigError(
            f"MODEL.RETINANET.ANCHOR_STRIDES: {cfg.MODEL.BACKBONE.CONV_BODY} gives {len(strides)} maps with the "
            f"strides {tuple(strides)}, but the config says {tuple(keys.ANCHOR_STRIDES)}. Take a body "
            "...-FPN-RETINANET and the strides (8, 16, 32, 64, 128)."
        )
    anchors = AnchorGenerator(
        sizes=octave_sizes(
            keys.ANCHOR_SIZES,
            octave=keys.OCTAVE,
            scales=keys.SCALES_PER_OCTAVE,
            truncate=numerics.anchors == "rounded",
        ),
        aspect_ratios=keys.ASPECT_RATIOS,
        strides=keys.ANCHOR_STRIDES,
        style=numerics.anchors,
    )
    delta_weights: DeltaWeights = tuple(keys.BBOX_REG_WEIGHTS)  # type: ignore[assignment]
    return RetinaNetModule(
        anchor_generator=anchors,
        head=RetinaNetHead(
            in_channels=in_channels,
            num_classes=keys.NUM_CLASSES,
            num_anchors=anchors.num_anchors_per_cell[0],
            num_convs=keys.NUM_CONVS,
            prior_probability=keys.PRIOR_PROB,
        ),
        loss=RetinaNetLoss(
            fg_iou_threshold=keys.FG_IOU_THRESHOLD,
            bg_iou_threshold=keys.BG_IOU_THRESHOLD,
            gamma=keys.LOSS_GAMMA,
            alpha=keys.LOSS_ALPHA,
            box_loss=keys.LOSS_TYPE,
            beta=keys.BBOX_REG_BETA,
            box_divisor=keys.BBOX_REG_WEIGHT,
            delta_weights=delta_weights,
            normalizer=numerics.retinanet_normalizer,
            box_offset=numerics.box_offset,
        ),
        post_processor=RetinaNetPostProcessor(
            score_threshold=keys.INFERENCE_TH,
            pre_nms=keys.PRE_NMS_TOP_N,
            nms_threshold=keys.NMS_TH,
            nms_inclusive=numerics.nms_inclusive,
            max_detections=cfg.TEST.DETECTIONS_PER_IMG,
            delta_weights=delta_weights,
            clip=numerics.retinanet_clip,
            drop_empty=numerics.retinanet_drops_empty,
            box_offset=numerics.box_offset,
        ),
    )
