"""Masks and their loss, against the plain way: all classes, then the right one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.modeling.poolers import Pooler, Rows
from maskrcnn_benchmark.modeling.roi_heads.mask_head import (
    MaskFeatureExtractor,
    MaskHead,
    MaskPredictor,
)
from maskrcnn_benchmark.modeling.roi_heads.sampling import SampledRegions
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.padded import PaddedDetections, PaddedTargets
from tests.thin_models import make_target

CLASSES = 4
SIZE = 96


def make_head(*, resolution: int = 12) -> MaskHead:
    pooler = Pooler(output_size=6, scales=(1 / 4, 1 / 8), sampling_ratio=2)
    extractor = MaskFeatureExtractor(pooler=pooler, in_channels=5, layers=(6, 7))
    predictor = MaskPredictor(in_channels=7, hidden=8, num_classes=CLASSES)
    return MaskHead(feature_extractor=extractor, predictor=predictor, resolution=resolution)


def make_features() -> list[Tensor]:
    return [torch.randn(2, 5, SIZE // 4, SIZE // 4), torch.randn(2, 5, SIZE // 8, SIZE // 8)]


def make_regions() -> tuple[SampledRegions, PaddedTargets, list[BoxList]]:
    """Targets, and regions that are the targets shifted by a few pixels."""
    boxlists = [make_target(SIZE, SIZE, count=3), make_target(SIZE, SIZE, count=2, seed=1)]
    targets = PaddedTargets.from_boxlists(boxlists, with_masks=True)
    own = torch.tensor([[0, 1, 2, 1], [1, 0, 0, 0]])
    picked = own[..., None].expand(-1, -1, 4)
    shift = torch.randn(2, 4, 2).repeat(1, 1, 2)
    regions = SampledRegions(
        boxes=(targets.boxes.gather(1, picked) + shift).clamp(0, SIZE - 1),
        labels=targets.labels.gather(1, own),
        targets=own,
        target_boxes=targets.boxes.gather(1, picked),
        valid=torch.tensor([[True] * 4, [True, True, False, False]]),
    )
    return regions, targets, boxlists


def test_the_logits_of_one_class_are_those_of_all_classes_picked() -> None:
    for hidden in (8, None):
        predictor = MaskPredictor(in_channels=7, hidden=hidden, num_classes=CLASSES)
        torch.nn.init.normal_(predictor.mask_fcn_logits.bias)  # type: ignore[arg-type]
        x = torch.randn(5, 7, 6, 6)
        for layout in (torch.contiguous_format, torch.channels_last):
            labels = torch.randint(0, CLASSES, (5,))
            everything = predictor(x.contiguous(memory_format=layout))
            side = 12 if hidden else 6
            assert everything.shape == (5, CLASSES, side, side)
            got = predictor.forward_class(x.contiguous(memory_format=layout), labels)
            torch.testing.assert_close(got, everything[torch.arange(5), labels])


def test_names_and_first_weights() -> None:
    predictor = MaskPredictor(in_channels=64, hidden=128, num_classes=10)
    assert list(predictor.state_dict()) == [
        "conv5_mask.weight",
        "conv5_mask.bias",
        "mask_fcn_logits.weight",
        "mask_fcn_logits.bias",
    ]
    assert predictor.mask_fcn_logits.weight.std().item() == pytest.approx((2 / 10) ** 0.5, rel=0.1)
    extractor = make_head().feature_extractor
    assert list(extractor.state_dict())[:2] == ["mask_fcn1.weight", "mask_fcn1.bias"]
    assert extractor.out_channels == 7


def test_extractor_with_group_norm_and_dilation() -> None:
    pooler = Pooler(output_size=6, scales=(1 / 4, 1 / 8), sampling_ratio=2)
    extractor = MaskFeatureExtractor(
        pooler=pooler, in_channels=5, layers=(6, 6), dilation=2, norm="GN", norm_groups=3
    )
    assert [n for n in extractor.state_dict() if n.startswith("mask_fcn2")] == [
        "mask_fcn2.0.weight",
        "mask_fcn2.1.weight",
        "mask_fcn2.1.bias",
    ]
    boxes = torch.tensor([[[3.0, 4.0, 60.0, 70.0]]] * 2)
    got = extractor(make_features(), boxes, Rows.of(torch.ones(2, 1, dtype=torch.bool)))
    assert got.shape == (2, 6, 6, 6)
    assert (got >= 0).all()


def test_masks_of_detections() -> None:
    head, features = make_head(), make_features()
    regions, _, _ = make_regions()
    detections = PaddedDetections(
        regions.boxes, torch.rand(2, 4), regions.labels * regions.valid, regions.valid
    )
    masks = head(features, detections)
    assert masks.shape == (2, 4, 12, 12)
    rows = Rows(None, regions.valid.flatten())
    logits = head.predictor(head.feature_extractor(features, regions.boxes, rows))
    expected = logits[torch.arange(8), detections.labels.flatten()].sigmoid().view(2, 4, 12, 12)
    torch.testing.assert_close(masks[regions.valid], expected[regions.valid])


def test_loss() -> None:
    head, features = make_head(), make_features()
    regions, targets, boxlists = make_regions()
    got = head.forward_training(features, regions, targets)
    rows = Rows(None, regions.valid.flatten())
    logits = head.predictor(head.feature_extractor(features, regions.boxes, rows))
    terms = []
    for number, (image, slot) in enumerate((i, s) for i in range(2) for s in range(4)):
        if not regions.valid[image, slot]:
            continue
        mask = boxlists[image].get_field("masks")[int(regions.targets[image, slot])]
        wanted = mask.crop(regions.boxes[image, slot]).resize((12, 12)).get_mask_tensor()
        label = int(regions.labels[image, slot])
        terms.append(F.binary_cross_entropy_with_logits(logits[number, label], wanted.float()))
    expected = torch.stack(terms).mean()
    torch.testing.assert_close(got, expected)
    parameters = list(head.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(got, parameters), torch.autograd.grad(expected, parameters)
    )


def test_without_positives_the_loss_is_zero() -> None:
    head = make_head()
    regions, targets, _ = make_regions()
    regions = regions._replace(valid=torch.zeros_like(regions.valid))
    loss = head.forward_training(make_features(), regions, targets)
    loss.backward()
    assert loss.item() == 0.0
    assert all(p.grad is not None and not p.grad.any() for p in head.parameters())


def test_targets_without_masks_are_refused() -> None:
    regions, targets, _ = make_regions()
    targets.masks = None
    with pytest.raises(ShapeError, match=r"'masks'.*MASK_ON"):
        make_head().forward_training(make_features(), regions, targets)


def test_another_resolution_is_refused() -> None:
    regions, targets, _ = make_regions()
    with pytest.raises(ShapeError, match=r"12 x 12.*resolution is 28.*RESOLUTION to 12"):
        make_head(resolution=28).forward_training(make_features(), regions, targets)


def test_in_inference_a_few_rows_at_a_time() -> None:
    predictor = MaskPredictor(in_channels=7, hidden=8, num_classes=CLASSES)
    x, labels = torch.randn(70, 7, 6, 6), torch.randint(0, CLASSES, (70,))
    expected = predictor.forward_class(x, labels)
    with torch.no_grad():
        torch.testing.assert_close(predictor.forward_class(x, labels), expected.detach())
        assert predictor.forward_class(x[:0], labels[:0]).shape == (0, 12, 12)
