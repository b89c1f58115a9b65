"""Memory and time of one training step on an image with very many objects.

    python benchmarks/many_objects.py                       2,000 objects with masks on 4000 x 4000 pixels, R-50-FPN
    python benchmarks/many_objects.py --objects 2           the same step almost without objects, to compare with
    python benchmarks/many_objects.py --thin                a network of an eighth of the width: seconds, 2 GiB

Added memory is the highest resident memory during the step (forward and backward), less that before it.
"""

from __future__ import annotations

import argparse
import threading
import time

import torch

from maskrcnn_benchmark.build.config_files import find_config
from maskrcnn_benchmark.build.model import build_model
from maskrcnn_benchmark.config import get_defaults
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

THIN = {
    "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 32,
    "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 16,
    "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM": 32,
    "MODEL.ROI_MASK_HEAD.CONV_LAYERS": (16, 16, 16, 16),
}
PAGE = 4096


def resident_gib() -> float:
    """Resident memory of this process (Linux)."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE / 2**30


class Peak:
    """The highest resident memory while the block runs."""

    def __enter__(self) -> Peak:
        self.start = self.highest = resident_gib()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.highest = max(self.highest, resident_gib())


def make_target(objects: int, side: int, seed: int = 0) -> BoxList:
    """Ellipses of 10 to 110 pixels, anywhere, as polygons of 20 corners."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(objects, 2, generator=generator) * (side - 120)
    size = 10 + torch.rand(objects, 2, generator=generator) * 100
    angle = torch.linspace(0, 2 * torch.pi, 21)[:-1]
    circle = torch.stack((angle.cos(), angle.sin()), dim=1) / 2 + 0.5  # (20, 2)
    outlines = corner[:, None] + circle * size[:, None]
    target = BoxList(torch.cat((corner, corner + size), dim=1), (side, side))
    target.add_field("labels", torch.randint(1, 81, (objects,), generator=generator))
    target.add_field(
        "masks", SegmentationMask([[o.flatten().tolist()] for o in outlines], (side, side))
    )
    return target


def main() -> None:
    """Run one step and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=2000)
    parser.add_argument("--side", type=int, default=4000)
    parser.add_argument("--thin", action="store_true")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    cfg = get_defaults()
    cfg.merge_from_file(find_config("e2e_mask_rcnn_R_50_FPN_1x"))
    settings = {"MODEL.WEIGHT": "", **(THIN if options.thin else {})}
    cfg.merge_from_list([word for pair in settings.items() for word in pair])
    torch.manual_seed(0)
    model = build_model(cfg).train()
    target = make_target(options.objects, options.side)
    image = torch.zeros(1, 3, options.side, options.side)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=options.dtype == "bfloat16")
    start = time.perf_counter()
    with Peak() as peak:
        with autocast:
            losses = model(image, [target])
        sum(losses.values()).backward()
    seconds = time.perf_counter() - start
    print(
        f"objects {options.objects}  side {options.side}  {options.dtype}  seconds {seconds:.1f}  "
        f"added GiB {peak.highest - peak.start:.2f}"
    )


if __name__ == "__main__":
    main()
