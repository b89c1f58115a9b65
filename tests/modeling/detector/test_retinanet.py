"""The whole one-stage detector: against torchvision's with the same weights, and what may not change its numbers."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator as TorchvisionAnchors
from torchvision.models.detection.retinanet import RetinaNet as TorchvisionRetinaNet
from torchvision.models.detection.retinanet import RetinaNetHead as TorchvisionHead

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.modeling.detector import RetinaNet
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList
from tests.thin_models import make_images, make_target
from tests.thin_retinanet import thin_retinanet

SIZES = ((90, 120), (128, 64))
CLASSES = 4

# What build/retinanet.py makes of the profile `torchvision`.
TORCHVISION: dict[str, Any] = {
    "style": "rounded",
    "loss": {
        "beta": 0.0,
        "delta_weights": (1.0, 1.0, 1.0, 1.0),
        "normalizer": "image",
        "box_offset": 0.0,
    },
    "inference": {
        "nms_threshold": 0.5,
        "nms_inclusive": False,
        "delta_weights": (1.0, 1.0, 1.0, 1.0),
        "box_offset": 0.0,
    },
}


def detect(model: RetinaNet, images: object) -> list[BoxList]:
    with torch.inference_mode():
        found = model(images)
    assert isinstance(found, list)
    return found


def losses_of(model: RetinaNet, images: object, targets: list[BoxList]) -> dict[str, Tensor]:
    losses = model.train()(images, targets)
    assert isinstance(losses, dict)
    return losses


def targets_for(sizes: tuple[tuple[int, int], ...] = SIZES) -> list[BoxList]:
    return [
        make_target(h, w, count=3 - i % 2, seed=i, masks=False) for i, (h, w) in enumerate(sizes)
    ]


def assert_same_detections(got: list[BoxList], expected: list[BoxList], atol: float = 1e-4) -> None:
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.size == theirs.size
        torch.testing.assert_close(ours.bbox, theirs.bbox, atol=100 * atol, rtol=0)
        for name in ("scores", "labels"):
            torch.testing.assert_close(
                ours.get_field(name), theirs.get_field(name), atol=atol, rtol=0
            )


class Maps(nn.Module):
    """Our backbone as torchvision wants one."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.out_channels = 16

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return OrderedDict((str(i), value) for i, value in enumerate(self.backbone(images)))


def torchvisions(model: RetinaNet, *, score_threshold: float = 0.05) -> TorchvisionRetinaNet:
    """torchvision's RetinaNet with our backbone and the weights of our head.

    Its classes begin at 0, which means background in its data sets and is never trained: that column never fires.
    """
    sizes = tuple((x, int(x * 2 ** (1 / 3)), int(x * 2 ** (2 / 3))) for x in (16, 32, 64, 128, 256))
    theirs = TorchvisionRetinaNet(
        Maps(model.backbone),
        num_classes=CLASSES,
        # No scaling of the pixels, and below no resizing.
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
        anchor_generator=TorchvisionAnchors(sizes, ((0.5, 1.0, 2.0),) * 5),
        head=TorchvisionHead(16, 9, CLASSES),
        score_thresh=score_threshold,
        topk_candidates=100,
        detections_per_img=20,
    )
    theirs.transform.resize = lambda image, target=None: (image, target)
    head = model.rpn.head
    for name, prefix, last in (
        ("cls_tower", "classification_head", "cls_logits"),
        ("bbox_tower", "regression_head", "bbox_reg"),
    ):
        part = theirs.head.get_submodule(prefix)
        # Ours has two convolutions in each tower, theirs always four.
        part.conv = part.conv[:2]
        for index in range(2):
            for kind in ("weight", "bias"):
                value = head.get_parameter(f"{name}.{2 * index}.{kind}")
                part.conv[index][0].get_parameter(kind).data.copy_(value)
        for kind in ("weight", "bias"):
            value = head.get_parameter(f"{last.replace('reg', 'pred')}.{kind}").data
            if last == "cls_logits":
                per_anchor = value.view(9, CLASSES - 1, *value.shape[1:])
                never = torch.full_like(per_anchor[:, :1], -100.0 if kind == "bias" else 0.0)
                value = torch.cat((never, per_anchor), dim=1).flatten(0, 1)
            part.get_submodule(last).get_parameter(kind).data.copy_(value)
    return theirs.eval()


def test_detections_are_torchvisions() -> None:
    model = thin_retinanet(classes=CLASSES, **TORCHVISION)
    images = make_images((96, 128), (128, 160))
    with torch.no_grad():
        expected = torchvisions(model)(images)
    found = detect(model, images)
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours) == len(theirs["boxes"]) == 20
        torch.testing.assert_close(ours.bbox, theirs["boxes"], atol=1e-3, rtol=0)
        torch.testing.assert_close(ours.get_field("scores"), theirs["scores"], atol=1e-5, rtol=0)
        assert torch.equal(ours.get_field("labels"), theirs["labels"])


@pytest.mark.parametrize("box_loss", ["smooth_l1", "giou"])
def test_losses_are_torchvisions(box_loss: str) -> None:
    arguments = {**TORCHVISION, "loss": {**TORCHVISION["loss"], "box_loss": box_loss}}
    model = thin_retinanet(classes=CLASSES, **arguments)
    theirs = torchvisions(model).train()
    theirs.head.regression_head._loss_type = "l1" if box_loss == "smooth_l1" else box_loss
    sizes = ((96, 128), (128, 160), (64, 64))
    images, targets = make_images(*sizes), targets_for(sizes)
    targets[2] = make_target(64, 64, count=0, masks=False)
    got = losses_of(model, images, targets)
    expected = theirs(images, [{"boxes": t.bbox, "labels": t.get_field("labels")} for t in targets])
    torch.testing.assert_close(got["loss_retina_cls"], expected["classification"])
    torch.testing.assert_close(got["loss_retina_reg"], expected["bbox_regression"])


def test_detections() -> None:
    model = thin_retinanet()
    found = detect(model, make_images(*SIZES))
    for boxlist, (height, width) in zip(found, SIZES, strict=True):
        assert boxlist.size == (width, height)
        assert boxlist.fields() == ["scores", "labels"]
        assert 5 < len(boxlist) <= 20
        scores, labels = boxlist.get_field("scores"), boxlist.get_field("labels")
        assert (scores[1:] <= scores[:-1]).all()
        assert (scores > 0.05).all()
        assert set(labels.tolist()) == {1, 2, 3}
        limit = torch.tensor([width - 1.0, height - 1.0] * 2)
        assert ((boxlist.bbox >= 0) & (boxlist.bbox <= limit)).all()


def test_an_image_of_a_padded_batch_equals_itself_with_the_same_padding() -> None:
    model, images = thin_retinanet(), make_images(*SIZES)
    together = detect(model, images)
    for number, image in enumerate(images):
        alone = image.new_zeros(1, 3, 128, 128)
        alone[0, :, : image.shape[1], : image.shape[2]] = image
        got = detect(model, ImageList(alone, [image.shape[1:]]))
        assert_same_detections(got, together[number : number + 1])


def test_every_trained_parameter_has_a_gradient() -> None:
    model = thin_retinanet()
    assert model.with_masks is False
    losses = losses_of(model, make_images(*SIZES), targets_for())
    assert list(losses) == ["loss_retina_cls", "loss_retina_reg"]
    sum(losses.values()).backward()  # type: ignore[union-attr]
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.grad is None or parameter.grad.isfinite().all()


@pytest.mark.parametrize("normalizer", ["batch", "ema", "image"])
def test_a_batch_without_any_target(normalizer: str) -> None:
    model = thin_retinanet(loss={"normalizer": normalizer})
    targets = [make_target(h, w, count=0, masks=False) for h, w in SIZES]
    losses = losses_of(model, make_images(*SIZES), targets)
    assert losses["loss_retina_reg"].item() == 0.0
    assert losses["loss_retina_cls"].item() > 0.0
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_training_needs_targets_and_labels() -> None:
    model, images = thin_retinanet().train(), make_images(*SIZES)
    with pytest.raises(ValueError, match="targets must be passed"):
        model(images)
    targets = targets_for()
    del targets[1].extra_fields["labels"]
    with pytest.raises(ShapeError, match=r"targets\[1\].*'labels'"):
        model(images, targets)


def test_under_autocast_results_are_float32() -> None:
    model = thin_retinanet()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = detect(model, make_images(*SIZES))
        losses = losses_of(model, make_images(*SIZES), targets_for())
    assert all(boxlist.bbox.dtype == torch.float32 for boxlist in found)
    assert all(boxlist.get_field("scores").dtype == torch.float32 for boxlist in found)
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()  # type: ignore[union-attr]
