"""Image in, Detections out: for one image, a list, or whole folders."""

from maskrcnn_benchmark.predict.folder import FolderReport, predict_folder
from maskrcnn_benchmark.predict.predictor import Predictor

__all__ = ["FolderReport", "Predictor", "predict_folder"]
