"""The keys below MODEL that describe the network up to its region proposals, and RetinaNet.

Lengths are in pixels of the image the network sees (resized, not padded) unless a key says otherwise; thresholds
are IoU or scores between 0 and 1.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from maskrcnn_benchmark.config.kinds import (
    BoxLossType,
    Classes,
    Count,
    HeadNorm,
    NonNegative,
    Positive,
    PositiveNumber,
    Ratios,
    Share,
    Size,
    Sizes,
)
from maskrcnn_benchmark.config.section import Section


class Backbone(Section):
    """MODEL.BACKBONE."""

    CONV_BODY: str = Field(
        default="R-50-C4",
        description="Name of the backbone: R-{18,34,50,101,152}-{C4,C5,FPN} (ResNet and ResNeXt), "
        "R-{50,101}-FPN-RETINANET, FBNet, timm/NAME[-FPN] or torchvision/NAME[-FPN].",
        examples=["R-50-C4", "R-101-C4", "R-50-FPN", "R-101-FPN", "R-18-FPN", "R-50-FPN-RETINANET"],
    )
    FREEZE_CONV_BODY_AT: int = Field(
        default=2,
        description="How many leading stages keep their weights: 0 none, 1 the stem, 2 the stem "
        "and layer1, and so on.",
    )
    NORM: Literal["", "FrozenBN", "BN", "SyncBN", "GN"] = Field(
        default="",
        description="Norm of timm and torchvision bodies; empty = the network's own. ResNets: see "
        "MODEL.RESNETS.NORM.",
    )


class Fpn(Section):
    """MODEL.FPN."""

    USE_GN: bool = Field(
        default=False, description="Group normalisation after each convolution of the FPN."
    )
    USE_RELU: bool = Field(default=False, description="ReLU after each convolution of the FPN.")
    NORM: HeadNorm = Field(
        default="",
        description="Norm after each convolution: BN, SyncBN or GN; empty = what USE_GN says.",
    )


class GroupNorm(Section):
    """MODEL.GROUP_NORM."""

    DIM_PER_GP: int = Field(
        default=-1,
        ge=-1,
        description="Channels in each group; -1 = NUM_GROUPS decides. One of the two.",
    )
    NUM_GROUPS: int = Field(
        default=32, ge=-1, description="Number of groups; -1 = DIM_PER_GP decides. One of the two."
    )
    EPSILON: float = Field(
        default=1e-5, gt=0, description="Added to the variance before the square root."
    )


class Rpn(Section):
    """MODEL.RPN."""

    USE_FPN: bool = Field(
        default=False,
        description="Anchors on several feature maps: one size and one stride per map, instead of "
        "all sizes on one map.",
    )
    ANCHOR_SIZES: tuple[PositiveNumber | tuple[PositiveNumber, ...], ...] = Field(
        default=(32, 64, 128, 256, 512),
        min_length=1,
        description="Side in pixels of a square anchor; with USE_FPN one size, or tuple of sizes, "
        "per feature map.",
    )
    ANCHOR_STRIDE: Sizes = Field(
        default=(16,),
        description="Pixels between neighbouring anchors, one number per feature map.",
    )
    ASPECT_RATIOS: Ratios = Field(
        default=(0.5, 1.0, 2.0),
        description="Height / width of the anchors; their area stays that of the size.",
    )
    STRADDLE_THRESH: int = Field(
        default=0,
        description="In training, anchors further than so many pixels outside the image are left "
        "out; -1 = none is.",
    )
    FG_IOU_THRESHOLD: Share = Field(
        default=0.7,
        description="An anchor with at least this IoU with a target is an object; so is every "
        "target's best anchor.",
    )
    BG_IOU_THRESHOLD: Share = Field(
        default=0.3,
        description="An anchor below this IoU with every target is background; between the two "
        "thresholds it is ignored.",
    )
    BATCH_SIZE_PER_IMAGE: Size = Field(
        default=256, description="Anchors drawn per image for the loss of the RPN."
    )
    POSITIVE_FRACTION: Share = Field(
        default=0.5, description="At most this share of the drawn anchors are objects."
    )
    PRE_NMS_TOP_N_TRAIN: Size = Field(
        default=12000,
        description="Best proposals per image and feature map that enter NMS, in training.",
    )
    PRE_NMS_TOP_N_TEST: Size = Field(
        default=6000,
        description="Best proposals per image and feature map that enter NMS, at test.",
    )
    POST_NMS_TOP_N_TRAIN: Size = Field(
        default=2000, description="Proposals kept per image and feature map after NMS, in training."
    )
    POST_NMS_TOP_N_TEST: Size = Field(
        default=1000, description="Proposals kept per image and feature map after NMS, at test."
    )
    NMS_THRESH: Share = Field(
        default=0.7, description="IoU at which NMS drops the lower-scored proposal."
    )
    MIN_SIZE: Count = Field(
        default=0, description="Proposals with a side shorter than this, in pixels, are dropped."
    )
    FPN_POST_NMS_TOP_N_TRAIN: Size = Field(
        default=2000,
        description="Proposals kept over all feature maps, in training: per process and batch, or "
        "per image (FPN_POST_NMS_PER_BATCH). Rule for the former: 1000 x images per GPU.",
    )
    FPN_POST_NMS_TOP_N_TEST: Size = Field(
        default=2000, description="Proposals kept per image over all feature maps, at test."
    )
    FPN_POST_NMS_PER_BATCH: bool = Field(
        default=True,
        description="In training, keep the best proposals of the whole batch of one process "
        "(true) or of each image (false).",
    )
    RPN_HEAD: str = Field(
        default="SingleConvRPNHead",
        description="Name of the RPN's head: SingleConvRPNHead or FBNet.rpn_head.",
        examples=["SingleConvRPNHead", "FBNet.rpn_head"],
    )
    NUM_CONVS: Size = Field(
        default=1, description="3x3 convolutions of SingleConvRPNHead, one after the other."
    )
    LOSS_TYPE: BoxLossType = Field(
        default="smooth_l1",
        description="Loss of the boxes: smooth_l1 on the deltas, or giou, diou, ciou on the boxes.",
    )
    SMOOTH_L1_BETA: NonNegative = Field(
        default=1.0 / 9,
        description="Where the smooth L1 loss turns from square to linear, in units of deltas; "
        "0 = L1.",
    )


class ResNets(Section):
    """MODEL.RESNETS."""

    NUM_GROUPS: Size = Field(
        default=1,
        description="Groups of the 3x3 convolutions: 1 = ResNet, 32 with WIDTH_PER_GROUP 8 = ResNeXt.",
    )
    WIDTH_PER_GROUP: Size = Field(
        default=64,
        description="Channels per group of the 3x3 convolutions of layer1; doubles every stage.",
    )
    STRIDE_IN_1X1: bool = Field(
        default=True,
        description="Stride in the first 1x1 convolution of a stage (MSRA weights) or in the 3x3 "
        "one (ResNeXt, group normalisation, torchvision weights).",
    )
    TRANS_FUNC: str = Field(
        default="BottleneckWithFixedBatchNorm",
        description="Residual block and its norm: BottleneckWith{FixedBatchNorm,BatchNorm,"
        "SyncBatchNorm,GN}. MODEL.RESNETS.NORM, if set, wins over the norm.",
        examples=[
            "BottleneckWithFixedBatchNorm",
            "BottleneckWithBatchNorm",
            "BottleneckWithSyncBatchNorm",
            "BottleneckWithGN",
        ],
    )
    STEM_FUNC: str = Field(
        default="StemWithFixedBatchNorm",
        description="First convolution and its norm: StemWith{FixedBatchNorm,BatchNorm,"
        "SyncBatchNorm,GN}. MODEL.RESNETS.NORM, if set, wins over the norm.",
        examples=[
            "StemWithFixedBatchNorm",
            "StemWithBatchNorm",
            "StemWithSyncBatchNorm",
            "StemWithGN",
        ],
    )
    NORM: Literal["", "FrozenBN", "BN", "SyncBN", "GN"] = Field(
        default="",
        description="Norm of stem and blocks: FrozenBN (fixed statistics, for pre-trained weights), "
        "BN, SyncBN (over all GPUs), GN; empty = what TRANS_FUNC and STEM_FUNC say.",
    )
    RES5_DILATION: Size = Field(
        default=1,
        description="Dilation of the 3x3 convolutions of layer4 in the head of C4 models.",
    )
    BACKBONE_OUT_CHANNELS: Size = Field(
        default=1024,
        description="Channels of the feature maps that leave the backbone: 256 for FPN, 4 x "
        "RES2_OUT_CHANNELS for C4.",
    )
    RES2_OUT_CHANNELS: Size = Field(
        default=256, description="Channels that leave layer1; doubles every stage."
    )
    STEM_OUT_CHANNELS: Size = Field(default=64, description="Channels that leave the stem.")
    STAGE_WITH_DCN: tuple[bool, bool, bool, bool] = Field(
        default=(False, False, False, False),
        description="For layer1 to layer4: deformable instead of ordinary 3x3 convolutions.",
    )
    WITH_MODULATED_DCN: bool = Field(
        default=False,
        description="Deformable convolutions with a learned weight per sample (version 2).",
    )
    DEFORMABLE_GROUPS: Size = Field(
        default=1,
        description="Groups of channels that share the offsets of a deformable convolution.",
    )


class RetinaNet(Section):
    """MODEL.RETINANET."""

    NUM_CLASSES: Classes = Field(default=81, description="Number of classes, background included.")
    ANCHOR_SIZES: tuple[PositiveNumber, ...] = Field(
        default=(32, 64, 128, 256, 512),
        min_length=1,
        description="Side in pixels of the smallest square anchor, one number per feature map.",
    )
    ASPECT_RATIOS: Ratios = Field(
        default=(0.5, 1.0, 2.0), description="Height / width of the anchors."
    )
    ANCHOR_STRIDES: Sizes = Field(
        default=(8, 16, 32, 64, 128),
        description="Pixels between neighbouring anchors, one number per feature map.",
    )
    STRADDLE_THRESH: int = Field(
        default=0, description="Has no effect (read by the old project, never used)."
    )
    OCTAVE: float = Field(
        default=2.0, gt=1, description="Ratio of anchor sizes from one feature map to the next."
    )
    SCALES_PER_OCTAVE: Size = Field(
        default=3, description="Anchor sizes per feature map and aspect ratio."
    )
    USE_C5: bool = Field(
        default=True, description="Compute P6 from layer4's output (true) or from P5 (false)."
    )
    NUM_CONVS: Count = Field(default=4, description="3x3 convolutions in each of the two towers.")
    BBOX_REG_WEIGHT: Positive = Field(
        default=4.0,
        description="The box loss is divided by this and the number of positive anchors.",
    )
    BBOX_REG_BETA: NonNegative = Field(
        default=0.11,
        description="Where the smooth L1 loss turns from square to linear, in units of deltas; "
        "0 = L1.",
    )
    BBOX_REG_WEIGHTS: tuple[Positive, Positive, Positive, Positive] = Field(
        default=(10.0, 10.0, 5.0, 5.0),
        description="Factors on the four box deltas (dx, dy, dw, dh) that the head learns.",
    )
    LOSS_TYPE: BoxLossType = Field(
        default="smooth_l1",
        description="Loss of the boxes: smooth_l1 on the deltas, or giou, diou, ciou on the boxes.",
    )
    PRE_NMS_TOP_N: Size = Field(
        default=1000, description="Best detections per image and feature map that enter NMS."
    )
    FG_IOU_THRESHOLD: Share = Field(
        default=0.5, description="An anchor with at least this IoU with a target is an object."
    )
    BG_IOU_THRESHOLD: Share = Field(
        default=0.4, description="An anchor below this IoU with every target is background."
    )
    LOSS_ALPHA: Share = Field(
        default=0.25, description="Focal loss: weight of objects against background."
    )
    LOSS_GAMMA: NonNegative = Field(
        default=2.0, description="Focal loss: exponent that plays down easy anchors."
    )
    PRIOR_PROB: float = Field(
        default=0.01,
        gt=0,
        lt=1,
        description="Score that every anchor gives to every class before training.",
    )
    INFERENCE_TH: Share = Field(
        default=0.05, description="Detections with a higher score enter NMS."
    )
    NMS_TH: Share = Field(
        default=0.4, description="IoU at which NMS drops the lower-scored detection."
    )


class FbNet(Section):
    """MODEL.FBNET."""

    ARCH: str = Field(
        default="default",
        description="Name of the architecture table: default, xirb16d_dsmask, cham_v1a, ...",
        examples=["default", "xirb16d_dsmask", "cham_v1a"],
    )
    ARCH_DEF: str = Field(
        default="",
        description="An architecture table as JSON text; if not empty it is used instead of ARCH.",
    )
    BN_TYPE: Literal["bn", "af", "gn"] = Field(
        default="bn", description="Norm: bn (trained), af (fixed statistics) or gn (group)."
    )
    SCALE_FACTOR: Positive = Field(
        default=1.0, description="All channel widths are multiplied by this."
    )
    WIDTH_DIVISOR: Size = Field(
        default=1, description="Channel widths are rounded to a multiple of this."
    )
    DW_CONV_SKIP_BN: bool = Field(default=True, description="No norm after depthwise convolutions.")
    DW_CONV_SKIP_RELU: bool = Field(
        default=True, description="No ReLU after depthwise convolutions."
    )
    DET_HEAD_LAST_SCALE: float = Field(
        default=1.0,
        description="Box head: a negative number s adds a last 1x1 convolution of |s| x the table's "
        "width; 0 or more adds none.",
    )
    DET_HEAD_BLOCKS: tuple[Count, ...] = Field(
        default=(), description="Box head: indices of the table's blocks to use; empty = all."
    )
    DET_HEAD_STRIDE: Count = Field(
        default=0, description="Box head: stride of its first block; 0 = the table's."
    )
    KPTS_HEAD_LAST_SCALE: float = Field(
        default=0.0, description="Keypoint head: as DET_HEAD_LAST_SCALE."
    )
    KPTS_HEAD_BLOCKS: tuple[Count, ...] = Field(
        default=(), description="Keypoint head: indices of the table's blocks to use; empty = all."
    )
    KPTS_HEAD_STRIDE: Count = Field(
        default=0, description="Keypoint head: stride of its first block; 0 = the table's."
    )
    MASK_HEAD_LAST_SCALE: float = Field(
        default=0.0, description="Mask head: as DET_HEAD_LAST_SCALE."
    )
    MASK_HEAD_BLOCKS: tuple[Count, ...] = Field(
        default=(), description="Mask head: indices of the table's blocks to use; empty = all."
    )
    MASK_HEAD_STRIDE: Count = Field(
        default=0, description="Mask head: stride of its first block; 0 = the table's."
    )
    RPN_HEAD_BLOCKS: Count = Field(
        default=0, description="RPN: use so many of the table's last blocks; 0 = all."
    )
    RPN_BN_TYPE: Literal["", "bn", "af", "gn"] = Field(
        default="", description="Norm of the RPN; empty = BN_TYPE."
    )
