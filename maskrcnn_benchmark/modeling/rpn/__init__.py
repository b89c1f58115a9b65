"""Region proposals."""

from maskrcnn_benchmark.modeling.rpn.anchor_generator import AnchorGenerator
from maskrcnn_benchmark.modeling.rpn.rpn import RPN, RPNHead

__all__ = ["RPN", "AnchorGenerator", "RPNHead"]
