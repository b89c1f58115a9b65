"""Small detectors with random weights, made of the parts themselves, and small batches for them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.modeling.backbone import (
    FPN,
    Backbone,
    LastLevelMaxPool,
    ResNet,
    ResNetStages,
)
from maskrcnn_benchmark.modeling.detector import GeneralizedRCNN
from maskrcnn_benchmark.modeling.poolers import Pooler
from maskrcnn_benchmark.modeling.roi_heads.box_head import (
    BoxHead,
    BoxPredictor,
    FPN2MLPFeatureExtractor,
    ResNetConv5FeatureExtractor,
)
from maskrcnn_benchmark.modeling.roi_heads.box_head.inference import BoxPostProcessor
from maskrcnn_benchmark.modeling.roi_heads.keypoint_head import (
    KeypointFeatureExtractor,
    KeypointHead,
    KeypointPredictor,
)
from maskrcnn_benchmark.modeling.roi_heads.mask_head import (
    MaskFeatureExtractor,
    MaskHead,
    MaskPredictor,
)
from maskrcnn_benchmark.modeling.roi_heads.roi_heads import ROIHeads
from maskrcnn_benchmark.modeling.roi_heads.sampling import RegionSampler
from maskrcnn_benchmark.modeling.rpn import RPN, AnchorGenerator, RPNHead
from maskrcnn_benchmark.modeling.rpn.rpn import ProposalLimits
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import Keypoints
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

Kind = Literal["FPN", "C4"]

WIDTH = 8
KEYPOINTS = 5


def thin_backbone(kind: Kind = "FPN") -> Backbone:
    stages = (1, 2, 3, 4) if kind == "FPN" else (1, 2, 3)
    body = ResNet(
        depth=18,
        stages=stages,
        stem_channels=WIDTH,
        width=WIDTH,
        return_stages=stages if kind == "FPN" else (3,),
    )
    if kind == "C4":
        return Backbone(body=body, out_channels=body.out_channels[3], strides=(16,))
    fpn = FPN(
        in_channels=[body.out_channels[stage] for stage in stages],
        out_channels=16,
        top_block=LastLevelMaxPool(),
    )
    return Backbone(body=body, fpn=fpn, out_channels=16, strides=(4, 8, 16, 32, 64))


def thin_detector(
    *,
    kind: Kind = "FPN",
    classes: int = 4,
    with_heads: bool = True,
    with_masks: bool = True,
    with_keypoints: bool = False,
    detections: int = 20,
    per_batch: bool = False,
    seed: int = 0,
) -> GeneralizedRCNN:
    """A detector in eval mode whose random weights make it find something.

    The mask and keypoint heads of a C4 detector share the features of the box head.
    """
    torch.manual_seed(seed)
    backbone = thin_backbone(kind)
    anchors = AnchorGenerator(
        sizes=(8, 16, 32, 64, 128) if kind == "FPN" else (16, 32, 64), strides=backbone.strides
    )
    rpn = RPN(
        anchor_generator=anchors,
        head=RPNHead(
            in_channels=backbone.out_channels, num_anchors=anchors.num_anchors_per_cell[0]
        ),
        train_limits=ProposalLimits(pre_nms=200, post_nms=100, total=60, per_batch=per_batch),
        test_limits=ProposalLimits(pre_nms=100, post_nms=50, total=40),
    )
    heads = None
    if with_heads:
        box = _box_head(kind, backbone.out_channels, classes, detections)
        mask = _mask_head(box, kind, backbone.out_channels, classes) if with_masks else None
        keypoint = _keypoint_head(box, kind, backbone.out_channels) if with_keypoints else None
        heads = ROIHeads(
            box=box,
            mask=mask,
            keypoint=keypoint,
            share_box_features=with_masks and kind == "C4",
            share_box_features_with_keypoints=kind == "C4",
        )
    model = GeneralizedRCNN(
        backbone=backbone, rpn=rpn, roi_heads=heads, size_divisible=32 if kind == "FPN" else 0
    )
    _spread(model)
    return model.to(memory_format=torch.channels_last).eval()


def _pooler(kind: Kind, size: int) -> Pooler:
    if kind == "C4":
        return Pooler(output_size=6, scales=(1 / 16,), sampling_ratio=0)
    return Pooler(output_size=size, scales=(1 / 4, 1 / 8, 1 / 16, 1 / 32), sampling_ratio=2)


def _box_head(kind: Kind, channels: int, classes: int, detections: int) -> BoxHead:
    extractor: FPN2MLPFeatureExtractor | ResNetConv5FeatureExtractor
    if kind == "FPN":
        extractor = FPN2MLPFeatureExtractor(
            pooler=_pooler(kind, 5), in_channels=channels, hidden=24
        )
    else:
        stage = ResNetStages(stages=(4,), depth=18, in_channels=channels, width=WIDTH)
        extractor = ResNetConv5FeatureExtractor(pooler=_pooler(kind, 6), head=stage)
    return BoxHead(
        feature_extractor=extractor,
        predictor=BoxPredictor(in_channels=extractor.out_channels, num_classes=classes),
        post_processor=BoxPostProcessor(max_detections=detections),
        sampler=RegionSampler(batch_size_per_image=32),
    )


def _mask_head(box: BoxHead, kind: Kind, channels: int, classes: int) -> MaskHead:
    extractor: nn.Module = box.feature_extractor
    if kind == "FPN":
        extractor = MaskFeatureExtractor(
            pooler=_pooler(kind, 6), in_channels=channels, layers=(12, 12)
        )
    width = extractor.out_channels
    assert isinstance(width, int)
    return MaskHead(
        feature_extractor=extractor,
        predictor=MaskPredictor(in_channels=width, hidden=12, num_classes=classes),
        resolution=12 if kind == "FPN" else 6,
    )


def _keypoint_head(box: BoxHead, kind: Kind, channels: int) -> KeypointHead:
    extractor: nn.Module = box.feature_extractor
    if kind == "FPN":
        extractor = KeypointFeatureExtractor(
            pooler=_pooler(kind, 5), in_channels=channels, layers=(12, 12)
        )
    width = extractor.out_channels
    assert isinstance(width, int)
    return KeypointHead(
        feature_extractor=extractor,
        predictor=KeypointPredictor(in_channels=width, num_keypoints=KEYPOINTS),
        resolution=20 if kind == "FPN" else 12,
    )


def _spread(model: GeneralizedRCNN) -> None:
    """Scale the last layers so that they tell places and classes apart, as those of a trained detector do."""
    model.eval()
    probe = make_images((96, 128), seed=77)
    parts = [(model.rpn.head, "cls_logits", 2.0), (model.rpn.head, "bbox_pred", 0.2)]
    if model.roi_heads is not None:
        predictor = model.roi_heads.box.predictor
        parts += [(predictor, "cls_score", 1.5), (predictor, "bbox_pred", 0.5)]
    layers = [(part.get_submodule(name), deviation) for part, name, deviation in parts]
    for layer, deviation in layers:
        seen: list[Tensor] = []
        hook = layer.register_forward_hook(lambda m, i, out, seen=seen: seen.append(out))
        with torch.no_grad():
            model(probe)
            hook.remove()
            outputs = seen[0].movedim(1, -1).flatten(0, -2)  # (rows, classes or anchors)
            scale = deviation / outputs.std(dim=0)
            weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
            bias.copy_((bias - outputs.mean(dim=0)) * scale)
            weight.mul_(scale.view(-1, *[1] * (weight.dim() - 1)))


def make_images(*sizes: tuple[int, int], seed: int = 1) -> list[Tensor]:
    """Images (3, height, width) of smooth noise."""
    generator = torch.Generator().manual_seed(seed)
    images = []
    for height, width in sizes:
        coarse = torch.randn(1, 3, height // 8 + 2, width // 8 + 2, generator=generator)
        smooth = nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
        images.append(smooth[0])
    return images


def make_target(
    height: int, width: int, *, count: int, classes: int = 4, seed: int = 0, masks: bool = True
) -> BoxList:
    """`count` boxes with labels, polygons (diamonds in their boxes), keypoints and a sample seed."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor([float(width), float(height)])
    corner = torch.rand(count, 2, generator=generator) * size * 0.6
    extent = (0.15 + 0.25 * torch.rand(count, 2, generator=generator)) * size
    boxes = torch.cat((corner, corner + extent), dim=1)
    target = BoxList(boxes, (width, height))
    target.add_field("labels", torch.randint(1, classes, (count,), generator=generator))
    if masks:
        outlines = [
            [[(a + c) / 2, b, c, (b + d) / 2, (a + c) / 2, d, a, (b + d) / 2]]
            for a, b, c, d in boxes.tolist()
        ]
        target.add_field("masks", SegmentationMask(outlines, (width, height)))
    places = torch.rand(count, KEYPOINTS, 2, generator=generator)
    points = corner[:, None] + places * extent[:, None]
    visibility = torch.randint(0, 3, (count, KEYPOINTS, 1), generator=generator)
    target.add_field("keypoints", Keypoints(torch.cat((points, visibility), 2), (width, height)))
    target.sample_seed = 1000 + seed
    return target
