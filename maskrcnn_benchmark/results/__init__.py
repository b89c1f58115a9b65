"""What was found, in the image's own pixels: the type, its masks and keypoints, its pictures and its files."""

from maskrcnn_benchmark.results.coco import coco_document, detections_from_coco
from maskrcnn_benchmark.results.comparison import draw_comparison
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.drawing import draw
from maskrcnn_benchmark.results.keypoints import FoundKeypoints
from maskrcnn_benchmark.results.masks import RLE
from maskrcnn_benchmark.results.writers import write_coco, write_csv, write_json

__all__ = [
    "RLE",
    "Detections",
    "FoundKeypoints",
    "coco_document",
    "detections_from_coco",
    "draw",
    "draw_comparison",
    "write_coco",
    "write_csv",
    "write_json",
]
