"""Scoring in Pascal VOC's terms: average precision at eleven recalls, IoU .5."""

from maskrcnn_benchmark.data.datasets.evaluation.voc.evaluation import evaluate_voc
from maskrcnn_benchmark.data.datasets.evaluation.voc.results import VOCResults
from maskrcnn_benchmark.data.datasets.evaluation.voc.scoring import (
    VOCTargets,
    average_precision,
    score_voc,
)

__all__ = ["VOCResults", "VOCTargets", "average_precision", "evaluate_voc", "score_voc"]
