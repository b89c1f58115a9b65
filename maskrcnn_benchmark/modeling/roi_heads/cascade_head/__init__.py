"""Box heads in a row, each on the boxes of the one before."""

from maskrcnn_benchmark.modeling.roi_heads.cascade_head.cascade_head import (
    CascadeHead,
    CascadeStage,
    label_regions,
)

__all__ = ["CascadeHead", "CascadeStage", "label_regions"]
