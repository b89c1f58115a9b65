"""From an image batch to feature maps."""

from maskrcnn_benchmark.modeling.backbone.backbone import Backbone
from maskrcnn_benchmark.modeling.backbone.fpn import FPN, LastLevelMaxPool, LastLevelP6P7
from maskrcnn_benchmark.modeling.backbone.resnet import ResNet, ResNetStages
from maskrcnn_benchmark.utils.old_names import old_names

# Old names, which live elsewhere now.
__getattr__ = old_names(
    __name__,
    {
        "build_backbone": "maskrcnn_benchmark.build.backbones",
    },
)

__all__ = ["FPN", "Backbone", "LastLevelMaxPool", "LastLevelP6P7", "ResNet", "ResNetStages"]
