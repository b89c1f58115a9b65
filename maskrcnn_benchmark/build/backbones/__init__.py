"""Config -> backbone: one of the user's, a ResNet, or another network by name."""

from __future__ import annotations

from maskrcnn_benchmark.build.backbones.fbnet import build_fbnet_backbone
from maskrcnn_benchmark.build.backbones.foreign import build_foreign_backbone, is_foreign
from maskrcnn_benchmark.build.backbones.resnet import build_resnet_backbone
from maskrcnn_benchmark.build.registered import adapt_backbone, find_registered
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.backbone import Backbone

__all__ = ["build_backbone"]


def build_backbone(cfg: Config) -> Backbone:
    """The backbone that MODEL.BACKBONE.CONV_BODY names; it has `out_channels` and `strides`.

    Raises:
        ConfigError: if there is none of that name, or its parts do not fit.
    """
    name = cfg.MODEL.BACKBONE.CONV_BODY
    registered = find_registered(registry.BACKBONES, name)
    if registered is not None:
        return adapt_backbone(registered(cfg), cfg)
    if name == "FBNet":
        return build_fbnet_backbone(cfg)
    if is_foreign(name):
        return build_foreign_backbone(cfg)
    return build_resnet_backbone(cfg)
