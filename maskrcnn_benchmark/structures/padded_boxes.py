"""Boxes of a batch between its two forms: one BoxList per image, and one padded tensor.

B: images.    K: boxes of each image, padded, at least 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.padded import Proposals
from maskrcnn_benchmark.structures.sizes import HeightWidth


def pad_boxes(boxlists: Sequence[BoxList]) -> tuple[Tensor, Tensor]:
    """Boxes (B, K, 4) xyxy and which of them are real (B, K)."""
    count = max([1, *(len(each) for each in boxlists)])
    device = boxlists[0].bbox.device if boxlists else torch.device("cpu")
    boxes = torch.zeros(len(boxlists), count, 4, device=device)
    valid = torch.zeros(len(boxlists), count, dtype=torch.bool, device=device)
    for image, each in enumerate(boxlists):
        boxes[image, : len(each)] = each.convert("xyxy").bbox
        valid[image, : len(each)] = True
    return boxes, valid


def pad_field(boxlists: Sequence[BoxList], name: str, like: Tensor) -> Tensor:
    """A field with one number per box, (B, K), zeros where padded; zeros for an image without it.

    Args:
        boxlists: one per image.
        name: of the field.
        like: the validity (B, K) that `pad_boxes` gave.
    """
    values = torch.zeros(like.shape, device=like.device)
    for image, each in enumerate(boxlists):
        if each.has_field(name):
            values[image, : len(each)] = each.get_field(name)
    return values


def proposals_from_boxlists(boxlists: Sequence[BoxList]) -> Proposals:
    """Proposals with the field `objectness` (zeros where it is not set)."""
    boxes, valid = pad_boxes(boxlists)
    return Proposals(boxes, pad_field(boxlists, "objectness", valid), valid)


def image_sizes_of(boxlists: Sequence[BoxList]) -> Tensor:
    """Height and width (B, 2) of the images, float32, on the device of the boxes."""
    device = boxlists[0].bbox.device if boxlists else torch.device("cpu")
    sizes = [HeightWidth(each.size[1], each.size[0]) for each in boxlists]
    return torch.tensor(sizes, dtype=torch.float32, device=device)
