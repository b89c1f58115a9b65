"""Whole detectors, and the old way to build one from a config."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskrcnn_benchmark.modeling.detector.detector import Detector
from maskrcnn_benchmark.modeling.detector.generalized_rcnn import GeneralizedRCNN
from maskrcnn_benchmark.modeling.detector.retinanet import RetinaNet

if TYPE_CHECKING:
    from maskrcnn_benchmark.config import Config

__all__ = ["Detector", "GeneralizedRCNN", "RetinaNet", "build_detection_model"]


def build_detection_model(cfg: Config) -> Detector:
    """Build the model that a config describes (old entry point of `build.model.build_model`)."""
    from maskrcnn_benchmark.build.model import build_model

    return build_model(cfg)
