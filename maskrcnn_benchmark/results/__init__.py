"""What was found, in the image's own pixels: the type, its masks and keypoints, its pictures and its files."""

from maskrcnn_benchmark.results.coco import coco_document, detections_from_coco
from maskrcnn_benchmark.results.comparison import draw_comparison
from maskrcnn_benchmark.results.cropping import crop
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.results.drawing import draw
from maskrcnn_benchmark.results.instance_png import read_png, write_png
from maskrcnn_benchmark.results.keypoints import FoundKeypoints
from maskrcnn_benchmark.results.labelme import from_labelme, to_labelme
from maskrcnn_benchmark.results.masks import RLE
from maskrcnn_benchmark.results.supervision import from_supervision, to_supervision
from maskrcnn_benchmark.results.writers import read_csv, write_coco, write_csv, write_json
from maskrcnn_benchmark.results.yolo import from_yolo, to_yolo

__all__ = [
    "RLE",
    "Detections",
    "FoundKeypoints",
    "coco_document",
    "crop",
    "detections_from_coco",
    "draw",
    "draw_comparison",
    "from_labelme",
    "from_supervision",
    "from_yolo",
    "read_csv",
    "read_png",
    "to_labelme",
    "to_supervision",
    "to_yolo",
    "write_coco",
    "write_csv",
    "write_json",
    "write_png",
]
