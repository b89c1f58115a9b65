"""A COCO-format set that is drawn on the spot: overlapping shapes and blobs, each with its mask."""

from maskrcnn_benchmark.data.toy.scene import CLASS_NAMES
from maskrcnn_benchmark.data.toy.toy_dataset import ToyDataset, ToySplit, write_toy_dataset

__all__ = ["CLASS_NAMES", "ToyDataset", "ToySplit", "write_toy_dataset"]
