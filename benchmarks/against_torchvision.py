"""Mask R-CNN R-50-FPN, eager, float32: this project beside torchvision, alternating in one process.

    python benchmarks/against_torchvision.py [--runs 5] [--height 800] [--width 1216]

Prints seconds for an image and for a training step (forward, losses, backward; batch 1), the ratio, and the peak
memory of each, measured in processes of their own. Both models are untrained and keep their 100 best detections,
so that both paste nothing and classify, refine and segment as many; both freeze the stem and the first stage.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor

from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

CONFIG = Path(__file__).parents[1] / "configs" / "e2e_mask_rcnn_R_50_FPN_1x.yaml"
NUM_OBJECTS = 10
MODES = ("infer", "train")


def draw_targets(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Boxes (n, 4) of 30 to 230 pixels, and labels (n,)."""
    generator = torch.Generator().manual_seed(1)
    boxes = torch.rand(NUM_OBJECTS, 4, generator=generator)
    boxes[:, :2] *= torch.tensor([width - 240.0, height - 240.0])
    boxes[:, 2:] = boxes[:, :2] + 30 + boxes[:, 2:] * 200
    return boxes, torch.randint(1, 80, (NUM_OBJECTS,), generator=generator)


def make_ours(height: int, width: int) -> dict[str, Callable[[], int]]:
    """One step of each mode with this project's model; a step returns its number of objects."""
    cfg = get_defaults()
    cfg.merge_from_file(CONFIG)
    cfg.merge_from_list(["MODEL.ROI_HEADS.SCORE_THRESH", 0.0])
    model = build_model(cfg)
    boxes, labels = draw_targets(height, width)
    target = BoxList(boxes, (width, height))
    target.add_field("labels", labels)
    corners = [[[x1, y1, x2, y1, x2, y2, x1, y2]] for x1, y1, x2, y2 in boxes.tolist()]
    target.add_field("masks", SegmentationMask(corners, (width, height)))
    image = torch.rand(3, height, width) * 255 - 120

    def infer() -> int:
        model.eval()
        with torch.inference_mode():
            return len(model([image])[0])

    def train() -> int:
        model.train()
        torch.stack(list(model([image], [target]).values())).sum().backward()
        model.zero_grad(set_to_none=True)
        return NUM_OBJECTS

    return {"infer": infer, "train": train}


def make_torchvision(height: int, width: int) -> dict[str, Callable[[], int]]:
    """The same with torchvision's model."""
    model = torchvision.models.detection.maskrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        box_score_thresh=0.0,
        min_size=min(height, width),
        max_size=1333,
        norm_layer=torchvision.ops.FrozenBatchNorm2d,
    )
    for name, parameter in model.backbone.body.named_parameters():
        if not name.startswith(("layer2", "layer3", "layer4")):
            parameter.requires_grad_(requires_grad=False)
    boxes, labels = draw_targets(height, width)
    masks = torch.zeros(NUM_OBJECTS, height, width, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.long().tolist(), strict=True):
        mask[y1:y2, x1:x2] = 1
    target = {"boxes": boxes, "labels": labels, "masks": masks}
    image = torch.rand(3, height, width)
    heads: Any = model.roi_heads

    def infer() -> int:
        model.eval()
        with torch.inference_mode():
            # Up to the 28 x 28 masks, as ours: without pasting them into the image.
            images, _ = model.transform([image])
            features = model.backbone(images.tensors)
            proposals, _ = model.rpn(images, features)
            detections, _ = heads(features, proposals, images.image_sizes)
            return len(detections[0]["boxes"])

    def train() -> int:
        model.train()
        torch.stack(list(model([image], [target]).values())).sum().backward()
        model.zero_grad(set_to_none=True)
        return NUM_OBJECTS

    return {"infer": infer, "train": train}


MAKERS = {"ours": make_ours, "torchvision": make_torchvision}


def compare(mode: str, *, runs: int, height: int, width: int) -> None:
    """Print the median seconds of both, alternating, and their ratio."""
    steps = {name: make(height, width)[mode] for name, make in MAKERS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    counts = {}
    for run in range(runs + 1):
        for name, step in steps.items():
            began = time.perf_counter()
            counts[name] = step()
            if run:  # the first is for warming up
                seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        spread = f"{min(seconds[name]):.2f} to {max(seconds[name]):.2f}"
        print(f"{mode:6} {name:12} {value:6.2f} s  ({spread}; {counts[name]} objects)")
    print(f"{mode:6} ratio        {medians['torchvision'] / medians['ours']:6.2f} times as fast")


def peak_memory() -> int:
    """KiB that this process held at most; getrusage would also count its parent, from before `exec`."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure_memory(name: str, mode: str, *, height: int, width: int) -> None:
    """Print the peak memory of this process after two steps, in GiB."""
    step = MAKERS[name](height, width)[mode]
    for _ in range(2):
        step()
    peak = peak_memory() / 2**20
    print(f"{mode:6} {name:12} {peak:6.2f} GiB at most")


def main() -> None:
    """Compare, or measure the memory of one model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--width", type=int, default=1216)
    parser.add_argument("--memory-of", nargs=2, metavar=("NAME", "MODE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    size = {"height": arguments.height, "width": arguments.width}
    if arguments.memory_of:
        measure_memory(*arguments.memory_of, **size)
        return
    print(
        f"torch {torch.__version__}, torchvision {torchvision.__version__}, "
        f"{torch.get_num_threads()} threads, 1 x 3 x {arguments.height} x {arguments.width}"
    )
    for mode in MODES:
        compare(mode, runs=arguments.runs, **size)
    for mode in MODES:
        for name in MAKERS:
            command = [sys.executable, __file__, "--memory-of", name, mode]
            command += [f"--{key}={value}" for key, value in size.items()]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
