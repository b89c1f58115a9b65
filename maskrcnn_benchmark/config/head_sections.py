"""The keys below MODEL that describe what is done with each region of interest (RoI), and MODEL itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from maskrcnn_benchmark.config.kinds import (
    BoxLossType,
    Classes,
    Count,
    Device,
    HeadNorm,
    Limit,
    NonNegative,
    PoolerScales,
    PoolerType,
    Positive,
    Share,
    Size,
    Sizes,
)
from maskrcnn_benchmark.config.model_sections import (
    Backbone,
    FbNet,
    Fpn,
    GroupNorm,
    ResNets,
    RetinaNet,
    Rpn,
)
from maskrcnn_benchmark.config.section import Section

_POOLER_TYPE = "How RoIs are pooled: ROIAlign or ROIPool."
_NORM = "Norm after each convolution or linear layer: BN, SyncBN or GN; empty = what USE_GN says."
_LOSS_TYPE = "Loss of the boxes: smooth_l1 on the deltas, or giou, diou, ciou on the boxes."
_BETA = "Where the smooth L1 loss turns from square to linear, in units of deltas; 0 = L1."
_POOLER_RESOLUTION = "Cells along each side of the pooled RoI."
_SAMPLING_RATIO = (
    "Samples along each side of a cell of RoIAlign; 0 = as many as the cell has pixels."
)
_POOLER_SCALES = "1 / stride of each feature map that RoIs are pooled from, finest first."


class RoiHeads(Section):
    """MODEL.ROI_HEADS."""

    USE_FPN: bool = Field(
        default=False, description="Has no effect (POOLER_SCALES decides); kept for old files."
    )
    FG_IOU_THRESHOLD: Share = Field(
        default=0.5, description="A proposal with at least this IoU with a target gets its class."
    )
    BG_IOU_THRESHOLD: Share = Field(
        default=0.5,
        description="A proposal below this IoU with every target is background; between the two "
        "thresholds it is ignored.",
    )
    BBOX_REG_WEIGHTS: tuple[Positive, Positive, Positive, Positive] = Field(
        default=(10.0, 10.0, 5.0, 5.0),
        description="Factors on the four box deltas (dx, dy, dw, dh) that the box head learns.",
    )
    BATCH_SIZE_PER_IMAGE: Size = Field(
        default=512, description="Proposals drawn per image for the losses of the heads."
    )
    POSITIVE_FRACTION: Share = Field(
        default=0.25, description="At most this share of the drawn proposals are objects."
    )
    SCORE_THRESH: Share = Field(
        default=0.05, description="Detections with a higher score are kept, at test."
    )
    NMS: Share = Field(
        default=0.5,
        description="IoU at which NMS drops the lower-scored detection of the same class; 0 = no NMS.",
    )
    DETECTIONS_PER_IMG: Limit = Field(
        default=100, description="Most detections per image, over all classes; 0 or -1 = no limit."
    )
    NMS_TYPE: Literal["hard", "soft_linear", "soft_gaussian"] = Field(
        default="hard",
        description="hard drops overlapping detections; soft NMS lowers their scores (linear or "
        "Gaussian in the IoU).",
    )
    SOFT_NMS_SIGMA: Positive = Field(
        default=0.5, description="Width of the Gaussian of NMS_TYPE soft_gaussian."
    )


class RoiCascade(Section):
    """MODEL.ROI_CASCADE."""

    FG_IOU_THRESHOLDS: Annotated[tuple[Share, ...], Field(min_length=1)] = Field(
        default=(0.5, 0.6, 0.7),
        description="For each stage: a box with at least this IoU with a target gets its class.",
    )
    BBOX_REG_WEIGHTS: tuple[tuple[Positive, Positive, Positive, Positive], ...] = Field(
        default=((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0)),
        description="For each stage: factors on the four box deltas.",
    )


class RoiBoxHead(Section):
    """MODEL.ROI_BOX_HEAD."""

    FEATURE_EXTRACTOR: str = Field(
        default="ResNet50Conv5ROIFeatureExtractor",
        description="Name of the part that turns a pooled RoI into features: "
        "ResNet50Conv5ROIFeatureExtractor (C4), FPN2MLPFeatureExtractor, "
        "FPNXconv1fcFeatureExtractor or FBNet.roi_head.",
        examples=[
            "ResNet50Conv5ROIFeatureExtractor",
            "FPN2MLPFeatureExtractor",
            "FPNXconv1fcFeatureExtractor",
            "FBNet.roi_head",
        ],
    )
    PREDICTOR: str = Field(
        default="FastRCNNPredictor",
        description="Name of the last layers: FastRCNNPredictor (averages over the RoI; C4) or "
        "FPNPredictor.",
        examples=["FastRCNNPredictor", "FPNPredictor"],
    )
    POOLER_RESOLUTION: Size = Field(default=14, description=_POOLER_RESOLUTION)
    POOLER_SAMPLING_RATIO: Count = Field(default=0, description=_SAMPLING_RATIO)
    POOLER_SCALES: PoolerScales = Field(default=(1.0 / 16,), description=_POOLER_SCALES)
    NUM_CLASSES: Classes = Field(
        default=81, description="Number of classes of box and mask head, background included."
    )
    MLP_HEAD_DIM: Size = Field(default=1024, description="Width of the fully connected layers.")
    USE_GN: bool = Field(default=False, description="Group normalisation in the feature extractor.")
    DILATION: Size = Field(
        default=1, description="Dilation of the 3x3 convolutions of FPNXconv1fcFeatureExtractor."
    )
    CONV_HEAD_DIM: Size = Field(
        default=256, description="Channels of the convolutions of FPNXconv1fcFeatureExtractor."
    )
    NUM_STACKED_CONVS: Count = Field(
        default=4, description="Number of convolutions of FPNXconv1fcFeatureExtractor."
    )
    POOLER_TYPE: PoolerType = Field(default="ROIAlign", description=_POOLER_TYPE)
    NORM: HeadNorm = Field(default="", description=_NORM)
    LOSS_TYPE: BoxLossType = Field(default="smooth_l1", description=_LOSS_TYPE)
    SMOOTH_L1_BETA: NonNegative = Field(default=1.0, description=_BETA)


class RoiMaskHead(Section):
    """MODEL.ROI_MASK_HEAD."""

    FEATURE_EXTRACTOR: str = Field(
        default="ResNet50Conv5ROIFeatureExtractor",
        description="Name of the part that turns a pooled RoI into features: "
        "ResNet50Conv5ROIFeatureExtractor (C4), MaskRCNNFPNFeatureExtractor or FBNet.roi_head_mask.",
        examples=[
            "ResNet50Conv5ROIFeatureExtractor",
            "MaskRCNNFPNFeatureExtractor",
            "FBNet.roi_head_mask",
        ],
    )
    PREDICTOR: str = Field(
        default="MaskRCNNC4Predictor",
        description="Name of the last layers: MaskRCNNC4Predictor (doubles the side; C4 and FPN) "
        "or MaskRCNNConv1x1Predictor.",
        examples=["MaskRCNNC4Predictor", "MaskRCNNConv1x1Predictor"],
    )
    POOLER_RESOLUTION: Size = Field(default=14, description=_POOLER_RESOLUTION)
    POOLER_SAMPLING_RATIO: Count = Field(default=0, description=_SAMPLING_RATIO)
    POOLER_SCALES: PoolerScales = Field(default=(1.0 / 16,), description=_POOLER_SCALES)
    MLP_HEAD_DIM: Size = Field(default=1024, description="Has no effect; kept for old files.")
    CONV_LAYERS: Sizes = Field(
        default=(256, 256, 256, 256),
        description="Channels of the 3x3 convolutions; the last is also the transposed one's.",
    )
    RESOLUTION: Size = Field(
        default=14, description="Cells along each side of a predicted mask (and of its target)."
    )
    SHARE_BOX_FEATURE_EXTRACTOR: bool = Field(
        default=True,
        description="Use the box head's features (C4) instead of an extractor of its own.",
    )
    POSTPROCESS_MASKS: bool = Field(
        default=False,
        description="Kept for old files; True is refused: evaluation and Predictor paste masks into the image.",
    )
    POSTPROCESS_MASKS_THRESHOLD: float = Field(
        default=0.5,
        le=1,
        description="Has no effect; kept for old files.",
    )
    DILATION: Size = Field(default=1, description="Dilation of the 3x3 convolutions.")
    USE_GN: bool = Field(
        default=False, description="Group normalisation after the 3x3 convolutions."
    )
    POOLER_TYPE: PoolerType = Field(default="ROIAlign", description=_POOLER_TYPE)
    NORM: HeadNorm = Field(default="", description=_NORM)


class RoiKeypointHead(Section):
    """MODEL.ROI_KEYPOINT_HEAD."""

    FEATURE_EXTRACTOR: str = Field(
        default="KeypointRCNNFeatureExtractor",
        description="Name of the part that turns a pooled RoI into features: "
        "KeypointRCNNFeatureExtractor or FBNet.roi_head_keypoints.",
        examples=["KeypointRCNNFeatureExtractor", "FBNet.roi_head_keypoints"],
    )
    PREDICTOR: str = Field(
        default="KeypointRCNNPredictor",
        description="Name of the last layers: KeypointRCNNPredictor.",
        examples=["KeypointRCNNPredictor"],
    )
    POOLER_RESOLUTION: Size = Field(default=14, description=_POOLER_RESOLUTION)
    POOLER_SAMPLING_RATIO: Count = Field(default=0, description=_SAMPLING_RATIO)
    POOLER_SCALES: PoolerScales = Field(default=(1.0 / 16,), description=_POOLER_SCALES)
    MLP_HEAD_DIM: Size = Field(default=1024, description="Has no effect; kept for old files.")
    CONV_LAYERS: Sizes = Field(default=(512,) * 8, description="Channels of the 3x3 convolutions.")
    RESOLUTION: Size = Field(
        default=14, description="Cells along each side of a predicted heat map."
    )
    NUM_CLASSES: Size = Field(default=17, description="Number of keypoints of an object.")
    SHARE_BOX_FEATURE_EXTRACTOR: bool = Field(
        default=True, description="Use the box head's features instead of an extractor of its own."
    )
    POOLER_TYPE: PoolerType = Field(default="ROIAlign", description=_POOLER_TYPE)


class Model(Section):
    """MODEL."""

    RPN_ONLY: bool = Field(
        default=False, description="Region proposals (or RetinaNet) only, no RoI heads."
    )
    MASK_ON: bool = Field(default=False, description="Predict a mask for each detection.")
    RETINANET_ON: bool = Field(
        default=False, description="RetinaNet: one stage, detections straight from the anchors."
    )
    KEYPOINT_ON: bool = Field(default=False, description="Predict keypoints for each detection.")
    DEVICE: Device = Field(
        default="cuda", description="Where the network runs: cpu, cuda, cuda:1, mps, ..."
    )
    META_ARCHITECTURE: str = Field(
        default="GeneralizedRCNN",
        description="Name of the detector class.",
        examples=["GeneralizedRCNN"],
    )
    CLS_AGNOSTIC_BBOX_REG: bool = Field(
        default=False, description="One box per proposal for all classes instead of one per class."
    )
    WEIGHT: str = Field(
        default="",
        description="Weights to start from: a file, a http(s) address, catalog://NAME (see "
        "ModelCatalog), or empty for none. A last_checkpoint in OUTPUT_DIR wins.",
    )
    NUMERICS: str = Field(
        default="auto",
        description="Whose conventions the numbers follow (box widths, anchors, RoIAlign, NMS, "
        "mask pasting): detectron (the old project), detectron2, torchvision, mmdet, tensorpack; "
        "auto = those of the weights in WEIGHT, else detectron.",
        examples=["auto", "detectron", "detectron2", "torchvision", "mmdet", "tensorpack"],
    )
    CASCADE_ON: bool = Field(
        default=False,
        description="Cascade R-CNN: several box heads in a row, see MODEL.ROI_CASCADE.",
    )
    BACKBONE: Backbone = Field(default_factory=Backbone, description="From image to feature maps.")
    FPN: Fpn = Field(default_factory=Fpn, description="Feature pyramid.")
    GROUP_NORM: GroupNorm = Field(
        default_factory=GroupNorm, description="Group normalisation, wherever it is used."
    )
    RPN: Rpn = Field(default_factory=Rpn, description="Region proposals.")
    ROI_HEADS: RoiHeads = Field(
        default_factory=RoiHeads, description="What all heads on regions of interest share."
    )
    ROI_BOX_HEAD: RoiBoxHead = Field(
        default_factory=RoiBoxHead, description="Class and box of each region."
    )
    ROI_CASCADE: RoiCascade = Field(
        default_factory=RoiCascade, description="Stages of Cascade R-CNN."
    )
    ROI_MASK_HEAD: RoiMaskHead = Field(
        default_factory=RoiMaskHead, description="Mask of each detection."
    )
    ROI_KEYPOINT_HEAD: RoiKeypointHead = Field(
        default_factory=RoiKeypointHead, description="Keypoints of each detection."
    )
    RESNETS: ResNets = Field(default_factory=ResNets, description="ResNet and ResNeXt bodies.")
    RETINANET: RetinaNet = Field(default_factory=RetinaNet, description="RetinaNet.")
    FBNET: FbNet = Field(default_factory=FbNet, description="FBNet bodies and heads.")
