"""What a prediction does around its network: from the bytes of a file to its input, from its output to masks."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image

from maskrcnn_benchmark.bench.contestants import Ours, Scene
from maskrcnn_benchmark.bench.timing import Timing, take_turns
from maskrcnn_benchmark.build.data import build_transforms, image_format_of
from maskrcnn_benchmark.config import Config
from maskrcnn_benchmark.numerics import get_numerics
from maskrcnn_benchmark.predict.sources import read_source
from maskrcnn_benchmark.results.detections import Detections
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import to_image_list
from maskrcnn_benchmark.structures.sizes import HeightWidth

# A photograph of COCO is brought to 5/3 of its size for a short side of 800 pixels.
_ENLARGED = 5 / 3


def photograph_size(scene: Scene) -> HeightWidth:
    """Of a picture that is enlarged to the scene's size."""
    return HeightWidth(round(scene.height / _ENLARGED), round(scene.width / _ENLARGED))


def make_photograph(scene: Scene) -> bytes:
    """A JPEG file of soft shapes, of `photograph_size`."""
    generator = torch.Generator().manual_seed(scene.seed)
    height, width = photograph_size(scene)
    coarse = torch.rand(1, 3, height // 8 + 1, width // 8 + 1, generator=generator)
    pixels = F.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)
    file = io.BytesIO()
    array = (pixels[0] * 255).byte().permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(array).save(file, format="JPEG", quality=90)
    return file.getvalue()


def time_around(ours: Ours, scene: Scene, *, rounds: int) -> dict[str, Timing]:
    """Seconds for a batch of photographs: decode; preprocess (resize, normalise, pad); paste (masks to run lengths).

    Pasting is timed on what the model finds in the scene, and only where it segments.

    Args:
        ours: the model.
        scene: how many pictures, and the size of the network's input.
        rounds: runs that count.
    """
    steps: dict[str, Callable[[], object]] = {}
    cfg = ours.cfg.clone()
    cfg.defrost()
    short, long = sorted((scene.height, scene.width))
    cfg.merge_from_list(["INPUT.MIN_SIZE_TEST", short, "INPUT.MAX_SIZE_TEST", long])
    file, wanted = make_photograph(scene), image_format_of(cfg)
    if wanted.is_photograph:
        transforms = build_transforms(cfg, is_train=False)
        image = read_source(file, wanted)
        divisor = cfg.DATALOADER.SIZE_DIVISIBILITY
        steps["decode"] = lambda: [read_source(file, wanted) for _ in range(scene.batch)]
        steps["preprocess"] = lambda: to_image_list(
            [transforms(image) for _ in range(scene.batch)], divisor
        )
    if ours.model.with_masks:
        with torch.inference_mode():
            found = ours.model.eval()(ours.inputs(scene))
        steps["paste"] = partial(_paste, found, cfg, photograph_size(scene))
    return take_turns(steps, rounds=rounds)


def _paste(found: list[BoxList], cfg: Config, image_size: HeightWidth) -> list[Detections]:
    numerics = get_numerics(cfg.MODEL.NUMERICS)
    names = [str(label) for label in range(cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES)]
    return [
        Detections.from_boxlist(
            boxes,
            image_size=image_size,
            class_names=names,
            mask_padding=numerics.mask_padding,
            mask_paste=numerics.paste,
            box_offset=numerics.box_offset,
        )
        for boxes in found
    ]
