"""Keypoints and their loss, against the plain way: region by region."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.modeling.poolers import Pooler, Rows
from maskrcnn_benchmark.modeling.roi_heads.keypoint_head import (
    KeypointFeatureExtractor,
    KeypointHead,
    KeypointPredictor,
)
from maskrcnn_benchmark.modeling.roi_heads.sampling import SampledRegions
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import keypoints_to_heat_map
from maskrcnn_benchmark.structures.padded import PaddedDetections, PaddedTargets
from tests.thin_models import KEYPOINTS, make_target

SIZE = 96
SIDE = 24


def make_head(**change: Any) -> KeypointHead:
    pooler = Pooler(output_size=6, scales=(1 / 4, 1 / 8), sampling_ratio=2)
    extractor = KeypointFeatureExtractor(pooler=pooler, in_channels=5, layers=(6, 7))
    predictor = KeypointPredictor(in_channels=7, num_keypoints=KEYPOINTS)
    settings: dict[str, Any] = {"resolution": SIDE, **change}
    return KeypointHead(feature_extractor=extractor, predictor=predictor, **settings)


def make_features() -> list[Tensor]:
    return [torch.randn(2, 5, SIZE // 4, SIZE // 4), torch.randn(2, 5, SIZE // 8, SIZE // 8)]


def pad(boxlists: list[BoxList]) -> PaddedTargets:
    return PaddedTargets.from_boxlists(boxlists, with_masks=False, with_keypoints=True)


def make_regions() -> tuple[SampledRegions, PaddedTargets]:
    """Targets, and regions that are the targets shifted by a few pixels."""
    targets = pad([make_target(SIZE, SIZE, count=3), make_target(SIZE, SIZE, count=2, seed=1)])
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
    return regions, targets


def heat_maps_of(head: KeypointHead, features: list[Tensor], boxes: Tensor) -> Tensor:
    """(B * D, K, S, S)."""
    rows = Rows(None, torch.ones(boxes.shape[:2]).bool().flatten())
    x = head.feature_extractor(features, boxes, rows)
    result: Tensor = head.predictor(x)
    return result


def loss_terms(
    head: KeypointHead, features: list[Tensor], regions: SampledRegions, targets: PaddedTargets
) -> list[Tensor]:
    """The cross entropy of each visible keypoint of each valid region."""
    maps = heat_maps_of(head, features, regions.boxes).view(2, 4, KEYPOINTS, -1)
    assert targets.keypoints is not None
    terms = []
    for image, slot in regions.valid.nonzero().tolist():
        own = targets.keypoints[image, regions.targets[image, slot]][None]
        cells, valid = keypoints_to_heat_map(own, regions.boxes[image, slot][None], SIDE)
        for keypoint in valid[0].nonzero().flatten().tolist():
            wanted = cells[0, keypoint]
            terms.append(F.cross_entropy(maps[image, slot, keypoint][None], wanted[None]))
    return terms


def test_names_and_first_weights() -> None:
    predictor = KeypointPredictor(in_channels=64)
    assert {name: tuple(value.shape) for name, value in predictor.state_dict().items()} == {
        "kps_score_lowres.weight": (64, 17, 4, 4),
        "kps_score_lowres.bias": (17,),
    }
    deviation = predictor.kps_score_lowres.weight.std().item()
    # PyTorch takes the input channels of a transposed convolution for its fan out.
    assert deviation == pytest.approx((2 / (64 * 16)) ** 0.5, rel=0.05)
    extractor = make_head().feature_extractor
    assert list(extractor.state_dict())[:2] == ["conv_fcn1.weight", "conv_fcn1.bias"]
    assert extractor.out_channels == 7


def test_heat_maps_have_four_times_the_side() -> None:
    assert make_head().predictor(torch.rand(3, 7, 6, 6)).shape == (3, KEYPOINTS, SIDE, SIDE)


def test_keypoints_of_detections() -> None:
    head, features = make_head(), make_features()
    regions, _ = make_regions()
    detections = PaddedDetections(regions.boxes, torch.rand(2, 4), regions.labels, regions.valid)
    with torch.no_grad():
        keypoints, scores = head(features, detections)
        maps = heat_maps_of(head, features, regions.boxes).view(2, 4, KEYPOINTS, SIDE, SIDE)
    assert keypoints.shape == (2, 4, KEYPOINTS, 3)
    assert not keypoints[1, 2:].any()
    assert not scores[1, 2:].any()
    for image, slot in regions.valid.nonzero().tolist():
        x1, y1, x2, y2 = regions.boxes[image, slot].tolist()
        size = (-int(-(y2 - y1) // 1), -int(-(x2 - x1) // 1))
        enlarged = F.interpolate(
            maps[image, slot][None], size=size, mode="bicubic", align_corners=False
        )[0]
        value, index = enlarged.flatten(1).max(dim=1)
        x = (index % size[1] + 0.5) * (x2 - x1) / size[1] + x1
        y = (index // size[1] + 0.5) * (y2 - y1) / size[0] + y1
        expected = torch.stack((x, y, torch.ones_like(x)), dim=1)
        torch.testing.assert_close(keypoints[image, slot], expected, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(scores[image, slot], value, rtol=1e-4, atol=1e-4)


def test_scores_as_probabilities() -> None:
    head, features = make_head(score="probability"), make_features()
    regions, _ = make_regions()
    detections = PaddedDetections(regions.boxes, torch.rand(2, 4), regions.labels, regions.valid)
    with torch.no_grad():
        _, scores = head(features, detections)
        head.score = "logit"
        _, logits = head(features, detections)
        maps = heat_maps_of(head, features, regions.boxes).view(2, 4, KEYPOINTS, -1)
    expected = logits.exp() / maps.exp().sum(dim=3)
    torch.testing.assert_close(scores[regions.valid], expected[regions.valid])
    assert not scores[~regions.valid].any()


def test_loss_is_the_mean_over_visible_keypoints() -> None:
    head, features = make_head(), make_features()
    regions, targets = make_regions()
    got = head.forward_training(features, regions, targets)
    terms = loss_terms(head, features, regions, targets)
    assert 5 < len(terms) < 6 * KEYPOINTS
    expected = torch.stack(terms).mean()
    torch.testing.assert_close(got, expected)
    parameters = list(head.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(got, parameters),
        torch.autograd.grad(expected, parameters),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_static_normalizer() -> None:
    head, features = make_head(loss_normalizer=40.0), make_features()
    regions, targets = make_regions()
    got = head.forward_training(features, regions, targets)
    terms = loss_terms(head, features, regions, targets)
    torch.testing.assert_close(got, torch.stack(terms).sum() / (40.0 * 2))


@pytest.mark.parametrize(("visible_in", "is_used"), [("gt_box", False), ("proposal", True)])
def test_regions_without_a_visible_keypoint_do_not_train(visible_in: Any, is_used: bool) -> None:
    head, features = make_head(visible_in=visible_in), make_features()
    regions, targets = make_regions()
    assert targets.keypoints is not None
    regions = regions._replace(valid=torch.tensor([[True] + [False] * 3, [False] * 4]))
    # The only keypoint lies outside the target's box, but inside the region.
    targets.keypoints.zero_()
    targets.keypoints[0, 0, 0] = torch.tensor([50.0, 50, 2])
    regions.target_boxes[0, 0] = torch.tensor([10.0, 10, 40, 40])
    regions.boxes[0, 0] = torch.tensor([10.0, 10, 60, 60])
    loss = head.forward_training(features, regions, targets)
    assert (loss > 0) == is_used
    loss.backward()
    assert any(p.grad is not None and p.grad.any() for p in head.parameters()) == is_used


def test_without_positives_the_loss_is_zero() -> None:
    head = make_head()
    regions, targets = make_regions()
    regions = regions._replace(valid=torch.zeros_like(regions.valid))
    loss = head.forward_training(make_features(), regions, targets)
    loss.backward()
    assert loss.item() == 0.0
    assert all(p.grad is not None and not p.grad.any() for p in head.parameters())


def test_a_batch_without_objects() -> None:
    head = make_head()
    regions, _ = make_regions()
    targets = pad([make_target(SIZE, SIZE, count=0)] * 2)
    assert targets.keypoints is not None
    assert targets.keypoints.shape == (2, 1, 0, 3)
    regions = regions._replace(
        valid=torch.zeros_like(regions.valid), targets=torch.zeros_like(regions.targets)
    )
    assert head.forward_training(make_features(), regions, targets).item() == 0.0


def test_targets_that_do_not_fit_are_refused() -> None:
    regions, targets = make_regions()
    with pytest.raises(ShapeError, match=r"24 x 24.*resolution is 56.*RESOLUTION to 24"):
        make_head(resolution=56).forward_training(make_features(), regions, targets)
    assert targets.keypoints is not None
    targets.keypoints = targets.keypoints[:, :, :4]
    with pytest.raises(ShapeError, match=r"gives 5 keypoints.*have 4.*NUM_CLASSES to 4"):
        make_head().forward_training(make_features(), regions, targets)
    targets.keypoints = None
    with pytest.raises(ShapeError, match=r"'keypoints'.*KEYPOINT_ON"):
        make_head().forward_training(make_features(), regions, targets)
