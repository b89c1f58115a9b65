"""What is computed for each region: class and box, mask."""

from maskrcnn_benchmark.modeling.roi_heads.roi_heads import ROIHeads

__all__ = ["ROIHeads"]
