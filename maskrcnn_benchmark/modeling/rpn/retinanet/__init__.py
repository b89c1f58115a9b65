"""One-stage detection: RetinaNet's head, losses and post-processing."""

from maskrcnn_benchmark.modeling.rpn.retinanet.head import RetinaNetHead
from maskrcnn_benchmark.modeling.rpn.retinanet.inference import RetinaNetPostProcessor
from maskrcnn_benchmark.modeling.rpn.retinanet.loss import RetinaNetLoss
from maskrcnn_benchmark.modeling.rpn.retinanet.retinanet import RetinaNetModule

__all__ = ["RetinaNetHead", "RetinaNetLoss", "RetinaNetModule", "RetinaNetPostProcessor"]
