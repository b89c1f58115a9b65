"""What a user of the old project wrote: parts with the old signatures, registered by name. A file of its own."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from maskrcnn_benchmark.layers.norms import FrozenBatchNorm2d
from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.make_layers import make_conv3x3, make_fc
from maskrcnn_benchmark.modeling.poolers import Pooler
from maskrcnn_benchmark.modeling.rpn.rpn import RPNHeadConvRegressor, RPNHeadFeatureSingleConv
from maskrcnn_benchmark.structures.bounding_box import BoxList


@registry.BACKBONES.register("user-net")
class UserNet(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.out_channels = cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS
        self.stem = nn.Conv2d(3, 8, 7, stride=4, padding=3)
        self.norm = FrozenBatchNorm2d(8)
        self.fine = nn.Conv2d(8, self.out_channels, 1)
        self.coarse = nn.Conv2d(8, self.out_channels, 3, stride=2, padding=1)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        return self.fine(x), self.coarse(x)


@registry.RPN_HEADS.register("UserRPNHead")
class UserRPNHead(nn.Module):
    def __init__(self, cfg, in_channels, num_anchors):
        super().__init__()
        self.features = RPNHeadFeatureSingleConv(cfg, in_channels)
        self.regressor = RPNHeadConvRegressor(cfg, self.features.out_channels, num_anchors)

    def forward(self, x):
        return self.regressor(self.features(x))


class _Extractor(nn.Module):
    """What the box, mask and keypoint extractors of the old project have in common."""

    def __init__(self, section, in_channels):
        super().__init__()
        resolution = section.POOLER_RESOLUTION
        self.pooler = Pooler(
            output_size=(resolution, resolution),
            scales=section.POOLER_SCALES,
            sampling_ratio=section.POOLER_SAMPLING_RATIO,
        )
        self.seen = []

    def pool(self, x, proposals):
        assert isinstance(x, list)
        assert all(isinstance(each, BoxList) for each in proposals)
        self.seen = [tuple(each.size) for each in proposals]
        return self.pooler(x, proposals)


@registry.ROI_BOX_FEATURE_EXTRACTORS.register("UserBoxExtractor")
class UserBoxExtractor(_Extractor):
    def __init__(self, cfg, in_channels):
        section = cfg.MODEL.ROI_BOX_HEAD
        super().__init__(section, in_channels)
        self.fc6 = make_fc(in_channels * section.POOLER_RESOLUTION**2, 24, section.USE_GN)
        self.out_channels = 24

    def forward(self, x, proposals):
        x = self.pool(x, proposals)
        x = x.view(x.size(0), -1)
        return F.relu(self.fc6(x))


@registry.ROI_BOX_FEATURE_EXTRACTORS.register("UserXConvExtractor")
class UserXConvExtractor(_Extractor):
    """A 3x3 and a 1x1 convolution, which both have a say in how their output lies in memory."""

    def __init__(self, cfg, in_channels):
        section = cfg.MODEL.ROI_BOX_HEAD
        super().__init__(section, in_channels)
        self.xconvs = nn.Sequential(
            nn.Conv2d(in_channels, 12, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(12, 12, 1)
        )
        self.fc6 = make_fc(12 * section.POOLER_RESOLUTION**2, 24, section.USE_GN)
        self.out_channels = 24

    def forward(self, x, proposals):
        x = self.xconvs(self.pool(x, proposals))
        x = x.view(x.size(0), -1)
        return F.relu(self.fc6(x))


@registry.ROI_BOX_PREDICTOR.register("UserFlatPredictor")
class UserFlatPredictor(nn.Module):
    """Takes maps and flattens them."""

    def __init__(self, cfg, in_channels):
        super().__init__()
        numbers = in_channels * (cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION // 2) ** 2
        self.cls_score = nn.Linear(numbers, cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES)
        self.bbox_pred = nn.Linear(numbers, 4 * cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES)

    def forward(self, x):
        x = x.view(x.size(0), -1)
        return self.cls_score(x), self.bbox_pred(x)


@registry.ROI_MASK_PREDICTOR.register("UserFlatMaskPredictor")
class UserFlatMaskPredictor(nn.Module):
    """One linear layer over the whole map of a region."""

    def __init__(self, cfg, in_channels):
        super().__init__()
        self.classes = cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES
        self.side = cfg.MODEL.ROI_MASK_HEAD.RESOLUTION
        self.reduce = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.logits = nn.Linear(4 * self.side**2, self.classes * self.side**2)

    def forward(self, x):
        x = self.reduce(x)
        x = self.logits(x.view(x.size(0), -1))
        return x.view(-1, self.classes, self.side, self.side)


@registry.ROI_BOX_PREDICTOR.register("UserBoxPredictor")
class UserBoxPredictor(nn.Module):
    def __init__(self, cfg, in_channels):
        super().__init__()
        self.cls_score = nn.Linear(in_channels, cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES)
        self.bbox_pred = nn.Linear(in_channels, 4 * cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES)

    def forward(self, x):
        return self.cls_score(x), self.bbox_pred(x)


@registry.ROI_MASK_FEATURE_EXTRACTORS.register("UserMaskExtractor")
class UserMaskExtractor(_Extractor):
    def __init__(self, cfg, in_channels):
        super().__init__(cfg.MODEL.ROI_MASK_HEAD, in_channels)
        self.mask_fcn1 = make_conv3x3(in_channels, 12, use_gn=False)
        self.out_channels = 12

    def forward(self, x, proposals):
        return F.relu(self.mask_fcn1(self.pool(x, proposals)))


@registry.ROI_MASK_PREDICTOR.register("UserMaskPredictor")
class UserMaskPredictor(nn.Module):
    def __init__(self, cfg, in_channels):
        super().__init__()
        self.mask_fcn_logits = nn.Conv2d(in_channels, cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES, 1)

    def forward(self, x):
        return self.mask_fcn_logits(x)


@registry.ROI_KEYPOINT_FEATURE_EXTRACTORS.register("UserKeypointExtractor")
class UserKeypointExtractor(_Extractor):
    def __init__(self, cfg, in_channels):
        super().__init__(cfg.MODEL.ROI_KEYPOINT_HEAD, in_channels)
        self.out_channels = in_channels

    def forward(self, x, proposals):
        return self.pool(x, proposals)


@registry.ROI_KEYPOINT_PREDICTOR.register("UserKeypointPredictor")
class UserKeypointPredictor(nn.Module):
    def __init__(self, cfg, in_channels):
        super().__init__()
        self.scores = nn.Conv2d(in_channels, cfg.MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES, 1)

    def forward(self, x):
        return self.scores(x)


@registry.ROI_BOX_FEATURE_EXTRACTORS.register("WithoutChannels")
def make_without_channels(cfg, in_channels):
    return torch.nn.Identity()
