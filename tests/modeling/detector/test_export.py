"""The inference network outside Python: `torch.export`, with any number of images of any size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export

from maskrcnn_benchmark.modeling.detector import GeneralizedRCNN, RetinaNet
from maskrcnn_benchmark.numerics import AnchorStyle
from maskrcnn_benchmark.structures.padded import PaddedDetections
from tests.thin_models import Kind, make_images, thin_detector
from tests.thin_retinanet import thin_retinanet


class Detect(nn.Module):
    """Images and sizes in, the fields of the padded detections out."""

    def __init__(self, model: GeneralizedRCNN) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, image_sizes: Tensor) -> tuple[Tensor, ...]:
        found = self.model.detect(images, image_sizes)
        assert isinstance(found, PaddedDetections)
        assert found.masks is not None
        assert found.keypoints is not None
        return tuple(field for field in found if field is not None)


def make_batch(count: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    images = torch.stack(make_images(*[(height, width)] * count))
    sizes = torch.tensor([[float(height - i), float(width - 2 * i)] for i in range(count)])
    return images.contiguous(memory_format=torch.channels_last), sizes


@pytest.mark.parametrize("kind", ["FPN", "C4"])
def test_the_exported_network_gives_the_same_detections(kind: Kind) -> None:
    network = Detect(thin_detector(kind=kind, with_keypoints=True))
    batch = Dim("batch", min=1, max=8)
    program = export(
        network,
        make_batch(2, 96, 128),
        dynamic_shapes={
            "images": {0: batch, 2: Dim.AUTO, 3: Dim.AUTO},
            "image_sizes": {0: batch},
        },
    )
    exported = program.module()
    for inputs in (make_batch(2, 96, 128), make_batch(1, 160, 96), make_batch(3, 128, 192)):
        with torch.no_grad():
            expected = network(*inputs)
            got = exported(*inputs)
        valid = expected[3]
        assert valid.sum() > 10
        assert torch.equal(got[3], valid)
        for ours, theirs in zip(got, expected, strict=True):
            torch.testing.assert_close(ours[valid], theirs[valid], rtol=1e-4, atol=1e-4)


class DetectBoxes(nn.Module):
    """Images and sizes in; boxes, scores, labels and validity out."""

    def __init__(self, model: RetinaNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, image_sizes: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model.detect(images, image_sizes))[:4]


# Strides that follow from the sizes of the maps are part of the graph, too.
@pytest.mark.parametrize("style", ["detectron", "exact", "rounded"])
def test_the_exported_one_stage_network_gives_the_same_detections(style: AnchorStyle) -> None:
    network = DetectBoxes(thin_retinanet(style=style))
    # So large that no map has a side of one cell: a network is exported for one such side, or for more than one.
    batch = Dim("batch", min=1, max=8)
    program = export(
        network,
        make_batch(2, 160, 192),
        dynamic_shapes={
            "images": {0: batch, 2: Dim.AUTO, 3: Dim.AUTO},
            "image_sizes": {0: batch},
        },
    )
    exported = program.module()
    for inputs in (make_batch(2, 160, 192), make_batch(1, 288, 160), make_batch(3, 192, 320)):
        with torch.no_grad():
            expected = network(*inputs)
            got = exported(*inputs)
        valid = expected[3]
        assert valid.sum() > 10
        assert torch.equal(got[3], valid)
        for ours, theirs in zip(got, expected, strict=True):
            torch.testing.assert_close(ours[valid], theirs[valid], rtol=1e-4, atol=1e-4)
