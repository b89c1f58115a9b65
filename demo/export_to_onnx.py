"""Mask R-CNN as one ONNX file: export it, and time it beside PyTorch.

    python demo/export_to_onnx.py

writes mask_rcnn_R_50_FPN_1x.onnx, input_0.pb (the image it was timed on) and prints the average run times of both.
The weights are those of `--config-file`, downloaded once. Unlike the file of old, this one takes any number of images
of any size (multiples of 32), and its outputs are boxes, scores, labels, num_detections and masks; see
docs/how-to/export.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from maskrcnn_benchmark.build.config_files import find_config
from maskrcnn_benchmark.build.data import build_transforms
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.export.model_export import export_model, open_detector
from maskrcnn_benchmark.export.verification import make_images
from maskrcnn_benchmark.modeling.norm_folding import fold_frozen_norms
from maskrcnn_benchmark.predict.loading import load_model
from maskrcnn_benchmark.structures.image_list import to_image_list

REPETITIONS = 2


def main() -> None:
    """Export, run both, print."""
    arguments = parse_arguments()
    cfg = get_defaults()
    cfg.merge_from_file(find_config(arguments.config_file))
    cfg.merge_from_list(arguments.opts)
    model = load_model(
        arguments.weights or cfg.MODEL.WEIGHT, config=cfg, device="cpu", score_threshold=1.0
    )
    path = export_model(model, arguments.output, source=cfg.MODEL.WEIGHT)
    print(f"Wrote {path}")
    exported: Any = open_detector(path, format="onnx")
    network: Any = fold_frozen_norms(model.network)

    image = (
        Image.open(arguments.image).convert("RGB")
        if arguments.image
        else Image.fromarray(make_images()[0])
    )
    batch = to_image_list([build_transforms(model.cfg, is_train=False)(image)], 32)
    sizes = torch.tensor(batch.image_sizes, dtype=torch.float32)
    write_tensor(batch.tensors, path.with_name("input_0.pb"))
    pixels = batch.tensors.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        ours = average_time(lambda: network.detect(pixels, sizes))
        theirs = average_time(lambda: exported.detect(pixels, sizes))
    print(f"Avg run time of pytorch model: {ours}")
    print(f"Avg run time of onnx model: {theirs}")


def average_time(run: Callable[[], Any]) -> float:
    """Seconds a run takes, after one to warm up."""
    run()
    start = time.perf_counter()
    for _ in range(REPETITIONS):
        run()
    return (time.perf_counter() - start) / REPETITIONS


def write_tensor(values: Tensor, path: Path) -> None:
    """A tensor in ONNX's format, as its own tools read test inputs."""
    import onnx

    path.write_bytes(onnx.numpy_helper.from_array(values.numpy(), "images").SerializeToString())


def parse_arguments() -> argparse.Namespace:
    """Read the command line; everything has a default."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config-file",
        default="caffe2/e2e_mask_rcnn_R_50_FPN_1x_caffe2.yaml",
        help="a YAML file, or the name of a shipped one",
    )
    parser.add_argument("--weights", default="", help="a file or a run; default: MODEL.WEIGHT")
    parser.add_argument("--image", default="", help="default: a generated picture")
    parser.add_argument("--output", default="mask_rcnn_R_50_FPN_1x.onnx", help="the new file")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs for the config")
    return parser.parse_args()


if __name__ == "__main__":
    main()
