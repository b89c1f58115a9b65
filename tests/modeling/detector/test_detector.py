"""What every detector does around its network, on the smallest one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.modeling.backbone import Backbone
from maskrcnn_benchmark.modeling.detector import Detector
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.padded import PaddedDetections, PaddedTargets, Proposals


class WholeImage(Detector):
    """Finds the whole of each image, and loses the mean of the batch."""

    def __init__(self, *, size_divisible: int = 0, proposes: bool = False) -> None:
        backbone = Backbone(body=nn.Identity(), out_channels=3, strides=(1,))
        super().__init__(backbone=backbone, size_divisible=size_divisible)
        self.proposes = proposes
        self.seen: tuple[int, ...] = ()

    def detect(self, images: Tensor, image_sizes: Tensor) -> PaddedDetections | Proposals:
        self.seen = tuple(images.shape)
        boxes = nn.functional.pad(image_sizes.flip(1), (2, 0))[:, None] - torch.tensor([0, 0, 1, 1])
        ones = torch.ones(len(images), 1)
        if self.proposes:
            return Proposals(boxes, ones, ones.bool())
        return PaddedDetections(boxes, ones, ones.long(), ones.bool())

    def compute_losses(
        self, images: Tensor, image_sizes: Tensor, targets: PaddedTargets
    ) -> dict[str, Tensor]:
        return {"loss": images.mean() + targets.valid.sum()}


def target(width: int, height: int) -> BoxList:
    boxlist = BoxList([[0, 0, 3, 3], [1, 1, 2, 2]], (width, height))
    boxlist.add_field("labels", torch.tensor([1, 2]))
    return boxlist


def test_a_detector_needs_both_networks() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Detector(backbone=Backbone(body=nn.Identity(), out_channels=3, strides=(1,)))  # type: ignore[abstract]


def test_images_are_padded_and_boxes_are_not() -> None:
    model = WholeImage(size_divisible=16).eval()
    found = model([torch.zeros(3, 20, 30), torch.zeros(3, 33, 7)])
    assert model.seen == (2, 3, 48, 32)
    assert [boxlist.size for boxlist in found] == [(30, 20), (7, 33)]
    assert [boxlist.bbox.tolist() for boxlist in found] == [[[0, 0, 29, 19]], [[0, 0, 6, 32]]]
    assert found[0].fields() == ["scores", "labels"]


def test_proposals_have_an_objectness() -> None:
    (found,) = WholeImage(proposes=True).eval()(torch.zeros(3, 8, 8))
    assert found.fields() == ["objectness"]


def test_training_gives_losses_and_needs_a_target_for_each_image() -> None:
    model = WholeImage()
    images = torch.ones(2, 3, 8, 8)
    losses = model(images, [target(8, 8), target(8, 8)])
    assert losses["loss"].item() == 1.0 + 4
    with pytest.raises(ValueError, match="targets must be passed"):
        model(images)
    with pytest.raises(ShapeError, match="each of 2 images, got 1"):
        model(images, [target(8, 8)])


def test_a_plain_detector_finds_boxes_only() -> None:
    assert WholeImage().with_masks is False
    assert WholeImage().with_keypoints is False
