"""Scoring in COCO's terms: average precision of boxes and masks, average recall of proposals."""

from maskrcnn_benchmark.data.datasets.evaluation.coco.evaluation import evaluate_detections
from maskrcnn_benchmark.data.datasets.evaluation.coco.results import COCOResults
from maskrcnn_benchmark.data.datasets.evaluation.coco.scoring import Scores, score_coco

__all__ = ["COCOResults", "Scores", "evaluate_detections", "score_coco"]
