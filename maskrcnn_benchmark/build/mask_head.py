"""Config -> mask head."""

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
    adapt_predictor,
    check_outputs,
    find_registered,
    unknown_part,
)
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.poolers import Pooler
from maskrcnn_benchmark.modeling.roi_heads.box_head import BoxHead
from maskrcnn_benchmark.modeling.roi_heads.cascade_head import CascadeHead
from maskrcnn_benchmark.modeling.roi_heads.mask_head import (
    MaskFeatureExtractor,
    MaskHead,
    MaskPredictor,
)
from maskrcnn_benchmark.numerics import Numerics


def build_mask_head(
    cfg: Config, *, in_channels: int, numerics: Numerics, box: BoxHead | CascadeHead
) -> MaskHead:
    """Feature extractor (or the box head's) and predictor of the mask head."""
    head = cfg.MODEL.ROI_MASK_HEAD
    if head.POSTPROCESS_MASKS:
        raise ConfigError(
            "MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS: the network does not paste masks in this version. Set it to "
            "False; evaluation, Predictor and layers.masks.paste_masks paste them into the original image."
        )
    if head.SHARE_BOX_FEATURE_EXTRACTOR:
        extractor = box.feature_extractor
    else:
        extractor = build_mask_extractor(cfg, build_pooler(head, numerics), in_channels)
    channels = extractor.out_channels
    assert isinstance(channels, int)
    return MaskHead(
        feature_extractor=extractor,
        predictor=build_mask_predictor(cfg, in_channels=channels),
        resolution=head.RESOLUTION,
    )


def build_mask_extractor(cfg: Config, pooler: Pooler, in_channels: int) -> nn.Module:
    """The feature extractor that MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR names."""
    head = cfg.MODEL.ROI_MASK_HEAD
    key = "MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR"
    registered = find_registered(registry.ROI_MASK_FEATURE_EXTRACTORS, head.FEATURE_EXTRACTOR)
    if registered is not None:
        own: nn.Module = registered(cfg, in_channels)
        return adapt_extractor(own, head, key)
    if head.FEATURE_EXTRACTOR == "MaskRCNNFPNFeatureExtractor":
        return MaskFeatureExtractor(
            pooler=pooler,
            in_channels=in_channels,
            layers=head.CONV_LAYERS,
            dilation=head.DILATION,
            **norm_arguments(cfg, norm=head_norm(head), channels=head.CONV_LAYERS[0]),
        )
    if head.FEATURE_EXTRACTOR == "ResNet50Conv5ROIFeatureExtractor":
        return build_conv5_extractor(cfg, pooler, in_channels)
    if head.FEATURE_EXTRACTOR == "FBNet.roi_head_mask":
        return build_fbnet_extractor(cfg, "mask", pooler=pooler, in_channels=in_channels)
    raise unknown_part(key, head.FEATURE_EXTRACTOR, registry.ROI_MASK_FEATURE_EXTRACTORS)


def build_mask_predictor(cfg: Config, *, in_channels: int) -> MaskPredictor:
    """The predictor that MODEL.ROI_MASK_HEAD.PREDICTOR names."""
    head = cfg.MODEL.ROI_MASK_HEAD
    registered = find_registered(registry.ROI_MASK_PREDICTOR, head.PREDICTOR)
    if registered is not None:
        own: MaskPredictor = adapt_predictor(registered(cfg, in_channels))
        return check_outputs(own, (cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES,))
    hidden = {"MaskRCNNC4Predictor": head.CONV_LAYERS[-1], "MaskRCNNConv1x1Predictor": None}
    if head.PREDICTOR not in hidden:
        key = "MODEL.ROI_MASK_HEAD.PREDICTOR"
        raise unknown_part(key, head.PREDICTOR, registry.ROI_MASK_PREDICTOR)
    return MaskPredictor(
        in_channels=in_channels,
        hidden=hidden[head.PREDICTOR],
        num_classes=cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES,
    )
