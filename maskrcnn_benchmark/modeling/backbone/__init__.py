"""From an image batch to feature maps."""

from maskrcnn_benchmark.modeling.backbone.backbone import Backbone
from maskrcnn_benchmark.modeling.backbone.fpn import FPN, LastLevelMaxPool
from maskrcnn_benchmark.modeling.backbone.resnet import ResNet, ResNetStages

__all__ = ["FPN", "Backbone", "LastLevelMaxPool", "ResNet", "ResNetStages"]
