"""Config -> mask head."""

from __future__ import annotations

from torch import nn

from maskrcnn_benchmark.build.parts import (
    build_conv5_extractor,
    build_pooler,
    head_norm,
    norm_arguments,
)
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.modeling.roi_heads.box_head import BoxHead
from maskrcnn_benchmark.modeling.roi_heads.mask_head import (
    MaskFeatureExtractor,
    MaskHead,
    MaskPredictor,
)
from maskrcnn_benchmark.numerics import Numerics


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
            pooler=build_pooler(head, numerics),
            in_channels=in_channels,
            layers=head.CONV_LAYERS,
            dilation=head.DILATION,
            **norm_arguments(cfg, norm=head_norm(head), channels=head.CONV_LAYERS[0]),
        )
    elif head.FEATURE_EXTRACTOR == "ResNet50Conv5ROIFeatureExtractor":
        extractor = build_conv5_extractor(cfg, build_pooler(head, numerics), in_channels)
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
