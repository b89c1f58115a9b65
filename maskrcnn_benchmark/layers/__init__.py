"""Verbs on tensors: boxes, overlap, suppression, matching, sampling, pooling, masks, losses, norms.

Pure functions and small layers without any knowledge of images, configs or files. The names below are those that the
old project exported here. Three of them are modules as well: `from maskrcnn_benchmark.layers import nms` gives the
function, `from maskrcnn_benchmark.layers.nms import nms_padded` reads from the module.
"""

from torch.nn import BatchNorm2d, Conv2d, ConvTranspose2d

from maskrcnn_benchmark.layers.deform_conv import (
    DeformConv,
    DFConv2d,
    ModulatedDeformConv,
    ModulatedDeformConvPack,
    deform_conv,
    modulated_deform_conv,
)
from maskrcnn_benchmark.layers.deform_roi_pooling import (
    DeformRoIPooling,
    DeformRoIPoolingPack,
    ModulatedDeformRoIPoolingPack,
    deform_roi_pooling,
)
from maskrcnn_benchmark.layers.focal_loss import SigmoidFocalLoss
from maskrcnn_benchmark.layers.misc import interpolate
from maskrcnn_benchmark.layers.nms import nms
from maskrcnn_benchmark.layers.norms import FrozenBatchNorm2d
from maskrcnn_benchmark.layers.roi_align import ROIAlign, roi_align
from maskrcnn_benchmark.layers.roi_pool import ROIPool, roi_pool
from maskrcnn_benchmark.layers.smooth_l1_loss import smooth_l1_loss

__all__ = [
    "BatchNorm2d",
    "Conv2d",
    "ConvTranspose2d",
    "DFConv2d",
    "DeformConv",
    "DeformRoIPooling",
    "DeformRoIPoolingPack",
    "FrozenBatchNorm2d",
    "ModulatedDeformConv",
    "ModulatedDeformConvPack",
    "ModulatedDeformRoIPoolingPack",
    "ROIAlign",
    "ROIPool",
    "SigmoidFocalLoss",
    "deform_conv",
    "deform_roi_pooling",
    "interpolate",
    "modulated_deform_conv",
    "nms",
    "roi_align",
    "roi_pool",
    "smooth_l1_loss",
]
