"""A small Cascade Mask R-CNN with random weights, made of the parts themselves."""

from __future__ import annotations

import torch
from torch import nn

from maskrcnn_benchmark.modeling.detector import GeneralizedRCNN
from maskrcnn_benchmark.modeling.poolers import Pooler
from maskrcnn_benchmark.modeling.roi_heads.box_head import BoxPredictor, FPN2MLPFeatureExtractor
from maskrcnn_benchmark.modeling.roi_heads.box_head.inference import BoxPostProcessor
from maskrcnn_benchmark.modeling.roi_heads.cascade_head import CascadeHead, CascadeStage
from maskrcnn_benchmark.modeling.roi_heads.sampling import RegionSampler
from tests.thin_models import thin_detector

THRESHOLDS = (0.5, 0.6, 0.7)
DELTA_WEIGHTS = ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0))


def thin_cascade_head(
    *, channels: int = 16, classes: int = 4, detections: int = 20, regions: int = 32, seed: int = 3
) -> CascadeHead:
    """Three stages whose weights tell regions apart, in eval mode."""
    torch.manual_seed(seed)
    stages = []
    for threshold, weights in zip(THRESHOLDS, DELTA_WEIGHTS, strict=True):
        pooler = Pooler(output_size=5, scales=(1 / 4, 1 / 8, 1 / 16, 1 / 32), sampling_ratio=2)
        extractor = FPN2MLPFeatureExtractor(pooler=pooler, in_channels=channels, hidden=24)
        predictor = BoxPredictor(
            in_channels=extractor.out_channels, num_classes=classes, class_agnostic=True
        )
        nn.init.normal_(predictor.cls_score.weight, std=0.8)
        nn.init.normal_(predictor.bbox_pred.weight, std=0.8)
        stages.append(
            CascadeStage(
                feature_extractor=extractor,
                predictor=predictor,
                fg_iou_threshold=threshold,
                delta_weights=weights,
            )
        )
    return CascadeHead(
        stages=stages,
        post_processor=BoxPostProcessor(
            max_detections=detections, class_agnostic=True, delta_weights=DELTA_WEIGHTS[-1]
        ),
        sampler=RegionSampler(batch_size_per_image=regions),
    ).eval()


def thin_cascade() -> GeneralizedRCNN:
    """A whole detector in eval mode that finds something."""
    model = thin_detector()
    assert model.roi_heads is not None
    model.roi_heads.box = thin_cascade_head(channels=model.backbone.out_channels)
    return model.to(memory_format=torch.channels_last).eval()
