"""Config -> Cascade R-CNN's row of box heads."""

from __future__ import annotations

from maskrcnn_benchmark.build.box_head import (
    build_box_extractor,
    build_box_predictor,
    build_post_processor,
    build_sampler,
)
from maskrcnn_benchmark.build.parts import build_pooler
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.boxes import DeltaWeights
from maskrcnn_benchmark.modeling.roi_heads.cascade_head import CascadeHead, CascadeStage
from maskrcnn_benchmark.numerics import Numerics


def build_cascade_head(cfg: Config, *, in_channels: int, numerics: Numerics) -> CascadeHead:
    """One stage for each of ROI_CASCADE's thresholds, each with the parts that ROI_BOX_HEAD names.

    Raises:
        ConfigError: if there are not as many delta weights as thresholds, or boxes are not class-agnostic.
    """
    head, cascade = cfg.MODEL.ROI_BOX_HEAD, cfg.MODEL.ROI_CASCADE
    thresholds, weights = cascade.FG_IOU_THRESHOLDS, cascade.BBOX_REG_WEIGHTS
    if len(thresholds) != len(weights):
        raise ConfigError(
            "MODEL.ROI_CASCADE: expected as many BBOX_REG_WEIGHTS as FG_IOU_THRESHOLDS, one of each for a stage, got "
            f"{len(weights)} and {len(thresholds)}."
        )
    if not cfg.MODEL.CLS_AGNOSTIC_BBOX_REG:
        raise ConfigError(
            "MODEL.CASCADE_ON: the stages of a cascade hand on one box for all classes. Set "
            "MODEL.CLS_AGNOSTIC_BBOX_REG True."
        )
    stages = []
    own: DeltaWeights
    for threshold, own in zip(thresholds, weights, strict=True):
        extractor = build_box_extractor(cfg, build_pooler(head, numerics), in_channels)
        channels = extractor.out_channels
        assert isinstance(channels, int)
        stages.append(
            CascadeStage(
                feature_extractor=extractor,
                predictor=build_box_predictor(cfg, in_channels=channels),
                fg_iou_threshold=threshold,
                delta_weights=own,
            )
        )
    return CascadeHead(
        stages=stages,
        post_processor=build_post_processor(
            cfg, numerics=numerics, delta_weights=stages[-1].delta_weights
        ),
        sampler=build_sampler(
            cfg, numerics=numerics, foreground=thresholds[0], background=thresholds[0]
        ),
        loss=head.LOSS_TYPE,
        beta=head.SMOOTH_L1_BETA,
        box_offset=numerics.box_offset,
    )
