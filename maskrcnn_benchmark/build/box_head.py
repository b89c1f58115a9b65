"""Config -> box head."""

from __future__ import annotations

from torch import nn

from maskrcnn_benchmark.build.backbones.fbnet import build_fbnet_extractor
from maskrcnn_benchmark.build.parts import (
    build_conv5_extractor,
    build_pooler,
    head_norm,
    norm_arguments,
)
from maskrcnn_benchmark.build.registered import (
    adapt_extractor,
    check_outputs,
    find_registered,
    unknown_part,
)
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.layers.boxes import DeltaWeights
from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.poolers import Pooler
from maskrcnn_benchmark.modeling.roi_heads.box_head import (
    BoxHead,
    BoxPredictor,
    FPN2MLPFeatureExtractor,
    FPNXconv1fcFeatureExtractor,
)
from maskrcnn_benchmark.modeling.roi_heads.box_head.inference import BoxPostProcessor
from maskrcnn_benchmark.modeling.roi_heads.sampling import RegionSampler
from maskrcnn_benchmark.numerics import Numerics


def build_box_head(cfg: Config, *, in_channels: int, numerics: Numerics) -> BoxHead:
    """Feature extractor, predictor, sampler and post-processor of the box head."""
    heads, head = cfg.MODEL.ROI_HEADS, cfg.MODEL.ROI_BOX_HEAD
    delta_weights: DeltaWeights = tuple(heads.BBOX_REG_WEIGHTS)  # type: ignore[assignment]
    pooler = build_pooler(head, numerics)
    extractor = build_box_extractor(cfg, pooler, in_channels)
    return BoxHead(
        feature_extractor=extractor,
        predictor=build_box_predictor(cfg, in_channels=int(extractor.out_channels)),  # type: ignore[arg-type]
        post_processor=build_post_processor(cfg, numerics=numerics, delta_weights=delta_weights),
        sampler=build_sampler(
            cfg,
            numerics=numerics,
            foreground=heads.FG_IOU_THRESHOLD,
            background=heads.BG_IOU_THRESHOLD,
        ),
        delta_weights=delta_weights,
        class_agnostic=cfg.MODEL.CLS_AGNOSTIC_BBOX_REG,
        loss=head.LOSS_TYPE,
        beta=head.SMOOTH_L1_BETA,
        box_offset=numerics.box_offset,
    )


def build_post_processor(
    cfg: Config, *, numerics: Numerics, delta_weights: DeltaWeights
) -> BoxPostProcessor:
    """How class scores and deltas become detections."""
    heads = cfg.MODEL.ROI_HEADS
    return BoxPostProcessor(
        score_threshold=heads.SCORE_THRESH,
        nms_threshold=heads.NMS,
        nms_inclusive=numerics.nms_inclusive,
        nms=heads.NMS_TYPE,
        soft_nms_sigma=heads.SOFT_NMS_SIGMA,
        min_size=numerics.min_detection_size,
        drop_empty=numerics.drops_empty_results,
        max_detections=heads.DETECTIONS_PER_IMG,
        delta_weights=delta_weights,
        class_agnostic=cfg.MODEL.CLS_AGNOSTIC_BBOX_REG,
        box_offset=numerics.box_offset,
    )


def build_sampler(
    cfg: Config, *, numerics: Numerics, foreground: float, background: float
) -> RegionSampler:
    """The choice of the regions that train; the two are overlaps with a target."""
    heads = cfg.MODEL.ROI_HEADS
    return RegionSampler(
        fg_iou_threshold=foreground,
        bg_iou_threshold=background,
        batch_size_per_image=heads.BATCH_SIZE_PER_IMAGE,
        positive_fraction=heads.POSITIVE_FRACTION,
        box_offset=numerics.box_offset,
    )


def build_box_predictor(cfg: Config, *, in_channels: int) -> nn.Module:
    """The predictor that MODEL.ROI_BOX_HEAD.PREDICTOR names."""
    head = cfg.MODEL.ROI_BOX_HEAD
    registered = find_registered(registry.ROI_BOX_PREDICTOR, head.PREDICTOR)
    if registered is not None:
        num_boxes = 2 if cfg.MODEL.CLS_AGNOSTIC_BBOX_REG else head.NUM_CLASSES
        own: nn.Module = registered(cfg, in_channels)
        return check_outputs(own, (head.NUM_CLASSES, 4 * num_boxes))
    if head.PREDICTOR not in ("FastRCNNPredictor", "FPNPredictor"):
        key = "MODEL.ROI_BOX_HEAD.PREDICTOR"
        raise unknown_part(key, head.PREDICTOR, registry.ROI_BOX_PREDICTOR)
    return BoxPredictor(
        in_channels=in_channels,
        num_classes=head.NUM_CLASSES,
        class_agnostic=cfg.MODEL.CLS_AGNOSTIC_BBOX_REG,
    )


def build_box_extractor(cfg: Config, pooler: Pooler, in_channels: int) -> nn.Module:
    """The feature extractor that MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR names."""
    head = cfg.MODEL.ROI_BOX_HEAD
    key = "MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR"
    registered = find_registered(registry.ROI_BOX_FEATURE_EXTRACTORS, head.FEATURE_EXTRACTOR)
    if registered is not None:
        own: nn.Module = registered(cfg, in_channels)
        return adapt_extractor(own, head, key)
    if head.FEATURE_EXTRACTOR == "FPN2MLPFeatureExtractor":
        return FPN2MLPFeatureExtractor(
            pooler=pooler,
            in_channels=in_channels,
            hidden=head.MLP_HEAD_DIM,
            **norm_arguments(cfg, norm=head_norm(head), channels=head.MLP_HEAD_DIM),
        )
    if head.FEATURE_EXTRACTOR == "FPNXconv1fcFeatureExtractor":
        return FPNXconv1fcFeatureExtractor(
            pooler=pooler,
            in_channels=in_channels,
            num_convs=head.NUM_STACKED_CONVS,
            conv_channels=head.CONV_HEAD_DIM,
            hidden=head.MLP_HEAD_DIM,
            dilation=head.DILATION,
            **norm_arguments(cfg, norm=head_norm(head), channels=head.CONV_HEAD_DIM),
        )
    if head.FEATURE_EXTRACTOR == "FBNet.roi_head":
        return build_fbnet_extractor(cfg, "bbox", pooler=pooler, in_channels=in_channels)
    if head.FEATURE_EXTRACTOR == "ResNet50Conv5ROIFeatureExtractor":
        return build_conv5_extractor(cfg, pooler, in_channels)
    raise unknown_part(key, head.FEATURE_EXTRACTOR, registry.ROI_BOX_FEATURE_EXTRACTORS)
