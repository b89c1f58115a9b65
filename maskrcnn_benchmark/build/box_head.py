"""Config -> box head."""

from __future__ import annotations

from torch import nn

from maskrcnn_benchmark.build.parts import (
    build_conv5_extractor,
    build_pooler,
    head_norm,
    norm_arguments,
)
from maskrcnn_benchmark.build.registered import find_registered
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.boxes import DeltaWeights
from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.poolers import Pooler
from maskrcnn_benchmark.modeling.roi_heads.box_head import (
    BoxHead,
    BoxPredictor,
    FPN2MLPFeatureExtractor,
)
from maskrcnn_benchmark.modeling.roi_heads.box_head.inference import BoxPostProcessor
from maskrcnn_benchmark.modeling.roi_heads.sampling import RegionSampler
from maskrcnn_benchmark.numerics import Numerics


def build_box_head(cfg: Config, *, in_channels: int, numerics: Numerics) -> BoxHead:
    """Feature extractor, predictor, sampler and post-processor of the box head."""
    heads, head = cfg.MODEL.ROI_HEADS, cfg.MODEL.ROI_BOX_HEAD
    delta_weights: DeltaWeights = tuple(heads.BBOX_REG_WEIGHTS)  # type: ignore[assignment]
    agnostic = cfg.MODEL.CLS_AGNOSTIC_BBOX_REG
    pooler = build_pooler(head, numerics)
    extractor = build_box_extractor(cfg, pooler, in_channels)
    return BoxHead(
        feature_extractor=extractor,
        predictor=build_box_predictor(cfg, in_channels=int(extractor.out_channels)),  # type: ignore[arg-type]
        post_processor=BoxPostProcessor(
            score_threshold=heads.SCORE_THRESH,
            nms_threshold=heads.NMS,
            nms_inclusive=numerics.nms_inclusive,
            max_detections=heads.DETECTIONS_PER_IMG,
            delta_weights=delta_weights,
            class_agnostic=agnostic,
            box_offset=numerics.box_offset,
        ),
        sampler=RegionSampler(
            fg_iou_threshold=heads.FG_IOU_THRESHOLD,
            bg_iou_threshold=heads.BG_IOU_THRESHOLD,
            batch_size_per_image=heads.BATCH_SIZE_PER_IMAGE,
            positive_fraction=heads.POSITIVE_FRACTION,
            box_offset=numerics.box_offset,
        ),
        delta_weights=delta_weights,
        class_agnostic=agnostic,
        box_offset=numerics.box_offset,
    )


def build_box_predictor(cfg: Config, *, in_channels: int) -> nn.Module:
    """The predictor that MODEL.ROI_BOX_HEAD.PREDICTOR names."""
    head = cfg.MODEL.ROI_BOX_HEAD
    registered = find_registered(registry.ROI_BOX_PREDICTOR, head.PREDICTOR)
    if registered is not None:
        predictor: nn.Module = registered(cfg, in_channels)
        return predictor
    if head.PREDICTOR not in ("FastRCNNPredictor", "FPNPredictor"):
        raise ConfigError(
            "MODEL.ROI_BOX_HEAD.PREDICTOR: expected 'FastRCNNPredictor' or 'FPNPredictor', got "
            f"{head.PREDICTOR!r}."
        )
    return BoxPredictor(
        in_channels=in_channels,
        num_classes=head.NUM_CLASSES,
        class_agnostic=cfg.MODEL.CLS_AGNOSTIC_BBOX_REG,
    )


def build_box_extractor(cfg: Config, pooler: Pooler, in_channels: int) -> nn.Module:
    """The feature extractor that MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR names."""
    head = cfg.MODEL.ROI_BOX_HEAD
    if head.FEATURE_EXTRACTOR == "FPN2MLPFeatureExtractor":
        return FPN2MLPFeatureExtractor(
            pooler=pooler,
            in_channels=in_channels,
            hidden=head.MLP_HEAD_DIM,
            **norm_arguments(cfg, norm=head_norm(head), channels=head.MLP_HEAD_DIM),
        )
    if head.FEATURE_EXTRACTOR == "ResNet50Conv5ROIFeatureExtractor":
        return build_conv5_extractor(cfg, pooler, in_channels)
    raise ConfigError(
        "MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR: expected 'FPN2MLPFeatureExtractor' or "
        f"'ResNet50Conv5ROIFeatureExtractor', got {head.FEATURE_EXTRACTOR!r}."
    )
