"""Config -> keypoint head."""

from __future__ import annotations

from torch import nn

from maskrcnn_benchmark.build.backbones.fbnet import build_fbnet_extractor
from maskrcnn_benchmark.build.parts import build_conv5_extractor, build_pooler
from maskrcnn_benchmark.build.registered import adapt_extractor, find_registered, unknown_part
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.roi_heads.box_head import (
    BoxHead,
    FPN2MLPFeatureExtractor,
    FPNXconv1fcFeatureExtractor,
)
from maskrcnn_benchmark.modeling.roi_heads.cascade_head import CascadeHead
from maskrcnn_benchmark.modeling.roi_heads.keypoint_head import (
    KeypointFeatureExtractor,
    KeypointHead,
    KeypointPredictor,
)
from maskrcnn_benchmark.numerics import Numerics


def build_keypoint_head(
    cfg: Config, *, in_channels: int, numerics: Numerics, box: BoxHead | CascadeHead
) -> KeypointHead:
    """Feature extractor (or the box head's) and predictor of the keypoint head.

    Raises:
        ConfigError: if it is to share features of the box head that have no place left in them.
    """
    head = cfg.MODEL.ROI_KEYPOINT_HEAD
    extractor: nn.Module
    if head.SHARE_BOX_FEATURE_EXTRACTOR:
        extractor = box.feature_extractor
        if isinstance(extractor, FPN2MLPFeatureExtractor | FPNXconv1fcFeatureExtractor):
            raise ConfigError(
                "MODEL.ROI_KEYPOINT_HEAD.SHARE_BOX_FEATURE_EXTRACTOR: the box head's features are vectors "
                f"({type(extractor).__name__}), keypoints (MODEL.KEYPOINT_ON) need maps. Set it to False."
            )
    else:
        extractor = build_keypoint_extractor(cfg, in_channels=in_channels, numerics=numerics)
    channels = extractor.out_channels
    assert isinstance(channels, int)
    return KeypointHead(
        feature_extractor=extractor,
        predictor=build_keypoint_predictor(cfg, in_channels=channels),
        resolution=head.RESOLUTION,
        visible_in=numerics.keypoints_visible_in,
        score=numerics.keypoint_score,
    )


def build_keypoint_extractor(cfg: Config, *, in_channels: int, numerics: Numerics) -> nn.Module:
    """The feature extractor that MODEL.ROI_KEYPOINT_HEAD.FEATURE_EXTRACTOR names."""
    head = cfg.MODEL.ROI_KEYPOINT_HEAD
    key = "MODEL.ROI_KEYPOINT_HEAD.FEATURE_EXTRACTOR"
    registered = find_registered(registry.ROI_KEYPOINT_FEATURE_EXTRACTORS, head.FEATURE_EXTRACTOR)
    if registered is not None:
        extractor: nn.Module = adapt_extractor(registered(cfg, in_channels), head, key)
        return extractor
    if head.FEATURE_EXTRACTOR == "KeypointRCNNFeatureExtractor":
        return KeypointFeatureExtractor(
            pooler=build_pooler(head, numerics), in_channels=in_channels, layers=head.CONV_LAYERS
        )
    if head.FEATURE_EXTRACTOR == "ResNet50Conv5ROIFeatureExtractor":
        return build_conv5_extractor(cfg, build_pooler(head, numerics), in_channels)
    if head.FEATURE_EXTRACTOR == "FBNet.roi_head_keypoints":
        pooler = build_pooler(head, numerics)
        return build_fbnet_extractor(cfg, "kpts", pooler=pooler, in_channels=in_channels)
    raise unknown_part(key, head.FEATURE_EXTRACTOR, registry.ROI_KEYPOINT_FEATURE_EXTRACTORS)


def build_keypoint_predictor(cfg: Config, *, in_channels: int) -> nn.Module:
    """The predictor that MODEL.ROI_KEYPOINT_HEAD.PREDICTOR names."""
    head = cfg.MODEL.ROI_KEYPOINT_HEAD
    registered = find_registered(registry.ROI_KEYPOINT_PREDICTOR, head.PREDICTOR)
    if registered is not None:
        predictor: nn.Module = registered(cfg, in_channels)
        return predictor
    if head.PREDICTOR == "KeypointRCNNPredictor":
        return KeypointPredictor(in_channels=in_channels, num_keypoints=head.NUM_CLASSES)
    key = "MODEL.ROI_KEYPOINT_HEAD.PREDICTOR"
    raise unknown_part(key, head.PREDICTOR, registry.ROI_KEYPOINT_PREDICTOR)
