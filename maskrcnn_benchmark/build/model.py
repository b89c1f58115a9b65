"""Config -> network. One function for each part, so that key -> argument is one search away."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.boxes import DeltaWeights
from maskrcnn_benchmark.layers.norms import NormName
from maskrcnn_benchmark.modeling.backbone import (
    FPN,
    Backbone,
    LastLevelMaxPool,
    ResNet,
    ResNetStages,
)
from maskrcnn_benchmark.modeling.detector.generalized_rcnn import GeneralizedRCNN
from maskrcnn_benchmark.modeling.poolers import Pooler
from maskrcnn_benchmark.modeling.roi_heads.box_head import (
    BoxHead,
    BoxPredictor,
    FPN2MLPFeatureExtractor,
    ResNetConv5FeatureExtractor,
)
from maskrcnn_benchmark.modeling.roi_heads.box_head.inference import BoxPostProcessor
from maskrcnn_benchmark.modeling.roi_heads.mask_head import (
    MaskFeatureExtractor,
    MaskHead,
    MaskPredictor,
)
from maskrcnn_benchmark.modeling.roi_heads.roi_heads import ROIHeads
from maskrcnn_benchmark.modeling.roi_heads.sampling import RegionSampler
from maskrcnn_benchmark.modeling.rpn.anchor_generator import AnchorGenerator
from maskrcnn_benchmark.modeling.rpn.loss import RPNLoss
from maskrcnn_benchmark.modeling.rpn.rpn import RPN, ProposalLimits, RPNHead
from maskrcnn_benchmark.numerics import Numerics, get_numerics

_CONV_BODY = re.compile(r"R-(18|34|50|101|152)-(C4|C5|FPN)")
_STAGES = {"C4": (1, 2, 3), "C5": (1, 2, 3, 4), "FPN": (1, 2, 3, 4)}
_NORM_SUFFIXES: dict[str, NormName] = {
    "WithFixedBatchNorm": "FrozenBN",
    "WithBatchNorm": "BN",
    "WithSyncBatchNorm": "SyncBN",
    "WithGN": "GN",
}


def build_model(cfg: Config) -> GeneralizedRCNN:
    """The detector that the config describes, in channels-last memory format, on the CPU, with initial weights.

    Raises:
        ConfigError: for names of parts that do not exist, or parts that do not fit; the message names the key.
    """
    if cfg.MODEL.META_ARCHITECTURE != "GeneralizedRCNN":
        raise ConfigError(
            f"MODEL.META_ARCHITECTURE: expected 'GeneralizedRCNN', got {cfg.MODEL.META_ARCHITECTURE!r}."
        )
    for key, name in (("RETINANET_ON", "RetinaNet"), ("KEYPOINT_ON", "Keypoint R-CNN")):
        if getattr(cfg.MODEL, key):
            raise ConfigError(
                f"MODEL.{key}: {name} is not in this version. Set it to False, or use a Faster or Mask R-CNN config."
            )
    numerics = get_numerics(cfg.MODEL.NUMERICS)
    backbone = build_backbone(cfg)
    model = GeneralizedRCNN(
        backbone=backbone,
        rpn=build_rpn(cfg, in_channels=backbone.out_channels, numerics=numerics),
        roi_heads=None
        if cfg.MODEL.RPN_ONLY
        else build_roi_heads(cfg, in_channels=backbone.out_channels, numerics=numerics),
        size_divisible=max(cfg.DATALOADER.SIZE_DIVISIBILITY, 32 if _has_fpn(cfg) else 0),
    )
    # The convolutions of a CPU, and of a GPU's tensor cores, work on channels that lie side by side.
    return model.to(memory_format=torch.channels_last)


def build_backbone(cfg: Config) -> Backbone:
    """ResNet body, with a pyramid if the name says so."""
    depth, kind = _parse_conv_body(cfg)
    stages = _STAGES[kind]
    body = ResNet(
        depth=depth,
        stages=stages,
        stem_channels=cfg.MODEL.RESNETS.STEM_OUT_CHANNELS,
        stem_norm=_norm_of(cfg, "STEM_FUNC"),
        return_stages=stages if kind == "FPN" else stages[-1:],
        freeze_at=max(cfg.MODEL.BACKBONE.FREEZE_CONV_BODY_AT, 0),
        **_resnet_arguments(cfg),
    )
    if kind != "FPN":
        channels = body.out_channels[stages[-1]]
        _check_channels(cfg, channels)
        return Backbone(body=body, out_channels=channels, strides=(16 if kind == "C4" else 32,))
    fpn = FPN(
        in_channels=[body.out_channels[stage] for stage in stages],
        out_channels=cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS,
        use_relu=cfg.MODEL.FPN.USE_RELU,
        top_block=LastLevelMaxPool(),
        **_group_norm(
            cfg, use_gn=cfg.MODEL.FPN.USE_GN, channels=cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS
        ),
    )
    return Backbone(
        body=body,
        fpn=fpn,
        out_channels=cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS,
        strides=(4, 8, 16, 32, 64),
    )


def build_rpn(cfg: Config, *, in_channels: int, numerics: Numerics) -> RPN:
    """Anchors, head, loss and limits of the proposal network."""
    rpn = cfg.MODEL.RPN
    if rpn.RPN_HEAD != "SingleConvRPNHead":
        raise ConfigError(
            f"MODEL.RPN.RPN_HEAD: expected 'SingleConvRPNHead', got {rpn.RPN_HEAD!r}."
        )
    levels = 5 if _has_fpn(cfg) else 1
    if len(rpn.ANCHOR_STRIDE) != levels:
        raise ConfigError(
            f"MODEL.RPN.ANCHOR_STRIDE: {cfg.MODEL.BACKBONE.CONV_BODY} gives {levels} maps, but there are "
            f"{len(rpn.ANCHOR_STRIDE)} strides {rpn.ANCHOR_STRIDE}. Use "
            f"{'(4, 8, 16, 32, 64)' if levels == 5 else '(16,)'}."
        )
    anchors = AnchorGenerator(
        sizes=rpn.ANCHOR_SIZES,
        aspect_ratios=rpn.ASPECT_RATIOS,
        strides=rpn.ANCHOR_STRIDE,
        straddle_threshold=rpn.STRADDLE_THRESH,
        round_base=numerics.round_anchors,
    )
    return RPN(
        anchor_generator=anchors,
        head=RPNHead(in_channels=in_channels, num_anchors=anchors.num_anchors_per_cell[0]),
        loss=RPNLoss(
            fg_iou_threshold=rpn.FG_IOU_THRESHOLD,
            bg_iou_threshold=rpn.BG_IOU_THRESHOLD,
            batch_size_per_image=rpn.BATCH_SIZE_PER_IMAGE,
            positive_fraction=rpn.POSITIVE_FRACTION,
            box_offset=numerics.box_offset,
        ),
        train_limits=ProposalLimits(
            pre_nms=rpn.PRE_NMS_TOP_N_TRAIN,
            post_nms=rpn.POST_NMS_TOP_N_TRAIN,
            total=rpn.FPN_POST_NMS_TOP_N_TRAIN,
            per_batch=rpn.FPN_POST_NMS_PER_BATCH,
        ),
        test_limits=ProposalLimits(
            pre_nms=rpn.PRE_NMS_TOP_N_TEST,
            post_nms=rpn.POST_NMS_TOP_N_TEST,
            total=rpn.FPN_POST_NMS_TOP_N_TEST,
        ),
        nms_threshold=rpn.NMS_THRESH,
        nms_inclusive=numerics.nms_inclusive,
        min_size=rpn.MIN_SIZE,
        box_offset=numerics.box_offset,
    )


def build_roi_heads(cfg: Config, *, in_channels: int, numerics: Numerics) -> ROIHeads:
    """Box head and, with MASK_ON, mask head."""
    box = build_box_head(cfg, in_channels=in_channels, numerics=numerics)
    if not cfg.MODEL.MASK_ON:
        return ROIHeads(box=box)
    shares = cfg.MODEL.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR
    mask = build_mask_head(cfg, in_channels=in_channels, numerics=numerics, box=box)
    return ROIHeads(box=box, mask=mask, share_box_features=shares)


def build_box_head(cfg: Config, *, in_channels: int, numerics: Numerics) -> BoxHead:
    """Feature extractor, predictor, sampler and post-processor of the box head."""
    heads, head = cfg.MODEL.ROI_HEADS, cfg.MODEL.ROI_BOX_HEAD
    delta_weights: DeltaWeights = tuple(heads.BBOX_REG_WEIGHTS)  # type: ignore[assignment]
    agnostic = cfg.MODEL.CLS_AGNOSTIC_BBOX_REG
    pooler = _build_pooler(head, numerics)
    extractor = _build_box_extractor(cfg, pooler, in_channels)
    if head.PREDICTOR not in ("FastRCNNPredictor", "FPNPredictor"):
        raise ConfigError(
            "MODEL.ROI_BOX_HEAD.PREDICTOR: expected 'FastRCNNPredictor' or 'FPNPredictor', got "
            f"{head.PREDICTOR!r}."
        )
    return BoxHead(
        feature_extractor=extractor,
        predictor=BoxPredictor(
            in_channels=extractor.out_channels,
            num_classes=head.NUM_CLASSES,
            class_agnostic=agnostic,
        ),
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


def build_mask_head(cfg: Config, *, in_channels: int, numerics: Numerics, box: BoxHead) -> MaskHead:
    """Feature extractor (or the box head's) and predictor of the mask head."""
    head = cfg.MODEL.ROI_MASK_HEAD
    if head.POSTPROCESS_MASKS:
        raise ConfigError(
            "MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS: the network does not paste masks in this version. Set it to "
            "False; evaluation, Predictor and layers.masks.paste_masks paste them into the original image."
        )
    extractor: nn.Module
    if head.SHARE_BOX_FEATURE_EXTRACTOR:
        extractor = box.feature_extractor
    elif head.FEATURE_EXTRACTOR == "MaskRCNNFPNFeatureExtractor":
        extractor = MaskFeatureExtractor(
            pooler=_build_pooler(head, numerics),
            in_channels=in_channels,
            layers=head.CONV_LAYERS,
            dilation=head.DILATION,
            **_group_norm(cfg, use_gn=head.USE_GN, channels=head.CONV_LAYERS[0]),
        )
    elif head.FEATURE_EXTRACTOR == "ResNet50Conv5ROIFeatureExtractor":
        extractor = _build_conv5_extractor(cfg, _build_pooler(head, numerics), in_channels)
    else:
        raise ConfigError(
            "MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR: expected 'MaskRCNNFPNFeatureExtractor' or "
            f"'ResNet50Conv5ROIFeatureExtractor', got {head.FEATURE_EXTRACTOR!r}."
        )
    hidden = {"MaskRCNNC4Predictor": head.CONV_LAYERS[-1], "MaskRCNNConv1x1Predictor": None}
    if head.PREDICTOR not in hidden:
        raise ConfigError(
            f"MODEL.ROI_MASK_HEAD.PREDICTOR: expected one of {', '.join(hidden)}, got {head.PREDICTOR!r}."
        )
    channels = extractor.out_channels
    assert isinstance(channels, int)
    return MaskHead(
        feature_extractor=extractor,
        predictor=MaskPredictor(
            in_channels=channels,
            hidden=hidden[head.PREDICTOR],
            num_classes=cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES,
        ),
        resolution=head.RESOLUTION,
    )


def _build_box_extractor(
    cfg: Config, pooler: Pooler, in_channels: int
) -> FPN2MLPFeatureExtractor | ResNetConv5FeatureExtractor:
    head = cfg.MODEL.ROI_BOX_HEAD
    if head.FEATURE_EXTRACTOR == "FPN2MLPFeatureExtractor":
        return FPN2MLPFeatureExtractor(
            pooler=pooler,
            in_channels=in_channels,
            hidden=head.MLP_HEAD_DIM,
            **_group_norm(cfg, use_gn=head.USE_GN, channels=head.MLP_HEAD_DIM),
        )
    if head.FEATURE_EXTRACTOR == "ResNet50Conv5ROIFeatureExtractor":
        return _build_conv5_extractor(cfg, pooler, in_channels)
    raise ConfigError(
        "MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR: expected 'FPN2MLPFeatureExtractor' or "
        f"'ResNet50Conv5ROIFeatureExtractor', got {head.FEATURE_EXTRACTOR!r}."
    )


def _build_conv5_extractor(
    cfg: Config, pooler: Pooler, in_channels: int
) -> ResNetConv5FeatureExtractor:
    # Three blocks whatever the body, hence depth 50: stage 4 of ResNet-50, -101 and -152 is the same. Basic blocks for
    # the shallow ones.
    depth, _ = _parse_conv_body(cfg)
    head = ResNetStages(
        stages=(4,),
        depth=min(depth, 50),
        in_channels=in_channels,
        dilation=cfg.MODEL.RESNETS.RES5_DILATION,
        **_resnet_arguments(cfg),
    )
    return ResNetConv5FeatureExtractor(pooler=pooler, head=head)


def _build_pooler(head: Any, numerics: Numerics) -> Pooler:
    return Pooler(
        output_size=head.POOLER_RESOLUTION,
        scales=head.POOLER_SCALES,
        sampling_ratio=head.POOLER_SAMPLING_RATIO,
        aligned=numerics.roi_align_aligned,
        box_offset=numerics.box_offset,
    )


def _resnet_arguments(cfg: Config) -> dict[str, Any]:
    """What the body and the C4 head have in common."""
    resnets = cfg.MODEL.RESNETS
    if any(resnets.STAGE_WITH_DCN):
        raise ConfigError(
            "MODEL.RESNETS.STAGE_WITH_DCN: deformable convolution is not in this version; use False for all stages."
        )
    norm = _norm_of(cfg, "TRANS_FUNC")
    groups = _group_norm(cfg, use_gn=norm == "GN", channels=resnets.RES2_OUT_CHANNELS)
    return {
        "width": resnets.WIDTH_PER_GROUP,
        "groups": resnets.NUM_GROUPS,
        "out_channels": resnets.RES2_OUT_CHANNELS,
        "stride_in_1x1": resnets.STRIDE_IN_1X1,
        **groups,
        "norm": norm,
    }


def _group_norm(cfg: Config, *, use_gn: bool, channels: int) -> dict[str, Any]:
    """Arguments `norm`, `norm_groups` and `norm_eps` of parts that may have a group norm."""
    if not use_gn:
        return {"norm": ""}
    group_norm = cfg.MODEL.GROUP_NORM
    if (group_norm.NUM_GROUPS == -1) == (group_norm.DIM_PER_GP == -1):
        raise ConfigError(
            "MODEL.GROUP_NORM: exactly one of NUM_GROUPS and DIM_PER_GP must be -1, got "
            f"{group_norm.NUM_GROUPS} and {group_norm.DIM_PER_GP}."
        )
    groups = group_norm.NUM_GROUPS
    if groups == -1:
        groups = channels // group_norm.DIM_PER_GP
    return {"norm": "GN", "norm_groups": groups, "norm_eps": group_norm.EPSILON}


def _norm_of(cfg: Config, key: str) -> NormName:
    """The norm that TRANS_FUNC or STEM_FUNC names, unless RESNETS.NORM overrides it."""
    resnets = cfg.MODEL.RESNETS
    if resnets.NORM:
        override: NormName = resnets.NORM
        return override
    value = getattr(resnets, key)
    for suffix, norm in _NORM_SUFFIXES.items():
        if value.endswith(suffix):
            return norm
    raise ConfigError(
        f"MODEL.RESNETS.{key}: expected a name that ends with one of {', '.join(_NORM_SUFFIXES)}, got {value!r}."
    )


def _has_fpn(cfg: Config) -> bool:
    return "-FPN" in cfg.MODEL.BACKBONE.CONV_BODY


def _parse_conv_body(cfg: Config) -> tuple[int, str]:
    """Depth and kind (C4, C5, FPN) of `R-50-FPN` and the like."""
    name = cfg.MODEL.BACKBONE.CONV_BODY
    match = _CONV_BODY.fullmatch(name)
    if match is None:
        raise ConfigError(
            f"MODEL.BACKBONE.CONV_BODY: expected R-<18|34|50|101|152>-<C4|C5|FPN>, got {name!r}."
        )
    return int(match[1]), match[2]


def _check_channels(cfg: Config, channels: int) -> None:
    declared = cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS
    if declared != channels:
        raise ConfigError(
            f"MODEL.RESNETS.BACKBONE_OUT_CHANNELS: {cfg.MODEL.BACKBONE.CONV_BODY} gives {channels} channels, "
            f"the config says {declared}. Set it to {channels}."
        )
