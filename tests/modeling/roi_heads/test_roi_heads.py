"""The heads together: what they share, and in which order their losses come."""

from __future__ import annotations

import torch
from torch import Tensor

from maskrcnn_benchmark.modeling.detector import GeneralizedRCNN
from maskrcnn_benchmark.modeling.roi_heads.roi_heads import ROIHeads
from maskrcnn_benchmark.structures.padded import PaddedTargets
from tests.thin_models import KEYPOINTS, make_images, make_target, thin_detector


def heads_of(model: GeneralizedRCNN) -> ROIHeads:
    assert model.roi_heads is not None
    return model.roi_heads


def test_a_shared_extractor_is_one_module_with_two_names() -> None:
    heads = heads_of(thin_detector(kind="C4"))
    assert heads.mask is not None
    assert heads.mask.feature_extractor is heads.box.feature_extractor
    names = {name.split(".head.")[0] for name in heads.state_dict() if ".head." in name}
    assert names == {"box.feature_extractor", "mask.feature_extractor"}
    assert len({id(p) for p in heads.parameters()}) == len(list(heads.parameters()))


def losses_and_gradient(
    model: GeneralizedRCNN, name: str = "loss_mask"
) -> tuple[dict[str, Tensor], Tensor]:
    targets = [make_target(90, 120, count=3), make_target(128, 64, count=2, seed=1)]
    losses = model(make_images((90, 120), (128, 64)), targets)
    assert isinstance(losses, dict)
    (gradient,) = torch.autograd.grad(
        losses[name], [model.backbone.get_parameter("body.layer3.0.conv1.weight")]
    )
    return losses, gradient


def test_shared_features_give_the_loss_of_features_computed_again() -> None:
    model = thin_detector(kind="C4").train()
    heads = heads_of(model)
    assert heads.share_box_features
    shared, shared_gradient = losses_and_gradient(model)
    heads.share_box_features = False
    again, gradient = losses_and_gradient(model)
    assert list(shared)[:3] == ["loss_classifier", "loss_box_reg", "loss_mask"]
    torch.testing.assert_close(shared, again)
    torch.testing.assert_close(shared_gradient, gradient, rtol=1e-3, atol=1e-6)


def test_without_a_mask_head_there_are_no_masks() -> None:
    model = thin_detector(with_masks=False)
    heads = heads_of(model)
    assert heads.mask is None
    assert not any(name.startswith("mask") for name in heads.state_dict())
    images = torch.stack(make_images((64, 96)))
    sizes = torch.tensor([[64.0, 96.0]])
    with torch.no_grad():
        features = model.backbone(images)
        proposals = model.rpn(features, sizes)
        assert heads(features, proposals, sizes).masks is None
        assert proposals.valid.any()
    targets = PaddedTargets.from_boxlists(
        [make_target(64, 96, count=2, masks=False)], with_masks=False
    )
    losses = heads.forward_training(features, proposals, targets)
    assert list(losses) == ["loss_classifier", "loss_box_reg"]


def test_keypoints_share_features_too() -> None:
    model = thin_detector(kind="C4", with_keypoints=True).train()
    heads = heads_of(model)
    assert heads.keypoint is not None
    assert heads.keypoint.feature_extractor is heads.box.feature_extractor
    shared, shared_gradient = losses_and_gradient(model, "loss_kp")
    assert list(shared)[:4] == ["loss_classifier", "loss_box_reg", "loss_mask", "loss_kp"]
    heads.share_box_features_with_keypoints = False
    again, gradient = losses_and_gradient(model, "loss_kp")
    torch.testing.assert_close(shared, again)
    torch.testing.assert_close(shared_gradient, gradient, rtol=1e-3, atol=1e-6)


def test_keypoints_without_masks() -> None:
    model = thin_detector(with_masks=False, with_keypoints=True)
    assert model.with_keypoints
    assert not model.with_masks
    (found,) = model(make_images((64, 96)))
    keypoints = found.get_field("keypoints")
    assert keypoints.keypoints.shape == (len(found), KEYPOINTS, 3)
    assert len(found) > 0
    # Inside their boxes: centres of pixels.
    corner, end = found.bbox[:, None, :2], found.bbox[:, None, 2:]
    places = keypoints.keypoints[..., :2]
    assert ((places > corner) & (places < torch.maximum(end, corner + 1))).all()
