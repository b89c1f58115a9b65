"""Scoring in Cityscapes' terms: average precision of boxes and of masks over the IoU thresholds .5 to .95."""

from maskrcnn_benchmark.data.datasets.evaluation.cityscapes.evaluation import evaluate_cityscapes
from maskrcnn_benchmark.data.datasets.evaluation.cityscapes.matching import ImageMatches
from maskrcnn_benchmark.data.datasets.evaluation.cityscapes.results import CityscapesResults
from maskrcnn_benchmark.data.datasets.evaluation.cityscapes.scoring import score_cityscapes

__all__ = ["CityscapesResults", "ImageMatches", "evaluate_cityscapes", "score_cityscapes"]
