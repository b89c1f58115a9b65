"""Whole detectors on small batches: what may change their numbers and what may not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.errors import ShapeError
from maskrcnn_benchmark.modeling.detector import GeneralizedRCNN
from maskrcnn_benchmark.modeling.poolers import Rows
from maskrcnn_benchmark.modeling.rpn.rpn import ProposalLimits
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList
from maskrcnn_benchmark.structures.padded import PaddedTargets
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from tests.thin_models import Kind, make_images, make_target, thin_detector

KINDS: list[Kind] = ["FPN", "C4"]
SIZES = ((90, 120), (128, 64))


def detect(model: GeneralizedRCNN, images: object) -> list[BoxList]:
    with torch.inference_mode():
        found = model(images)
    assert isinstance(found, list)
    return found


def losses_of(model: GeneralizedRCNN, images: object, targets: list[BoxList]) -> dict[str, Tensor]:
    losses = model.train()(images, targets)
    assert isinstance(losses, dict)
    return losses


def gradients_of(model: GeneralizedRCNN, losses: dict[str, Tensor]) -> dict[str, Tensor]:
    model.zero_grad()
    total: Tensor = sum(losses.values())  # type: ignore[assignment]
    total.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_same_detections(got: list[BoxList], expected: list[BoxList], atol: float = 1e-4) -> None:
    assert len(got) == len(expected)
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.size == theirs.size
        assert ours.fields() == theirs.fields()
        torch.testing.assert_close(ours.bbox, theirs.bbox, atol=100 * atol, rtol=0)
        for name in ours.fields():
            torch.testing.assert_close(
                ours.get_field(name), theirs.get_field(name), atol=atol, rtol=0
            )


def targets_for(sizes: tuple[tuple[int, int], ...] = SIZES) -> list[BoxList]:
    return [make_target(h, w, count=3 - i % 2, seed=i) for i, (h, w) in enumerate(sizes)]


@contextmanager
def all_rows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As compiled and on a GPU: padded rows are computed, too."""
    with monkeypatch.context() as patch:
        patch.setattr(Rows, "of", classmethod(lambda cls, valid: cls(None, valid.flatten())))
        yield


@pytest.mark.parametrize("kind", KINDS)
def test_detections(kind: Kind) -> None:
    model = thin_detector(kind=kind)
    found = detect(model, make_images(*SIZES))
    for boxlist, (height, width) in zip(found, SIZES, strict=True):
        assert boxlist.size == (width, height)
        assert boxlist.mode == "xyxy"
        assert 5 < len(boxlist) <= 20
        side = 12 if kind == "FPN" else 6
        assert boxlist.get_field("mask").shape == (len(boxlist), 1, side, side)
        scores, labels = boxlist.get_field("scores"), boxlist.get_field("labels")
        assert (scores[1:] <= scores[:-1]).all()
        assert (scores > 0.05).all()
        assert len(labels.unique()) > 1
        assert labels.min() >= 1
        limit = torch.tensor([width - 1.0, height - 1.0] * 2)
        assert ((boxlist.bbox >= 0) & (boxlist.bbox <= limit)).all()


def test_a_proposal_network() -> None:
    model = thin_detector(with_heads=False)
    found = detect(model, make_images(*SIZES))
    assert [boxlist.fields() for boxlist in found] == [["objectness"]] * 2
    scores = found[0].get_field("objectness")
    assert (scores[1:] <= scores[:-1]).all()
    losses = losses_of(model, make_images(*SIZES), targets_for())
    assert list(losses) == ["loss_objectness", "loss_rpn_box_reg"]


@pytest.mark.parametrize("kind", KINDS)
def test_images_come_in_many_ways(kind: Kind) -> None:
    model = thin_detector(kind=kind)
    images = make_images((64, 96), (64, 96))
    expected = detect(model, images)
    stacked = torch.stack(images)
    assert_same_detections(detect(model, stacked), expected)
    assert_same_detections(detect(model, tuple(images)), expected)
    assert_same_detections(detect(model, ImageList(stacked, [(64, 96)] * 2)), expected)
    assert_same_detections(detect(model, images[0]), expected[:1])


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_not_touched_by_its_neighbours(kind: Kind) -> None:
    model = thin_detector(kind=kind)
    images = make_images((96, 96), (96, 96), (96, 96))
    together = detect(model, images)
    for number, image in enumerate(images):
        assert_same_detections(detect(model, [image]), together[number : number + 1])


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_of_a_padded_batch_equals_itself_with_the_same_padding(kind: Kind) -> None:
    model = thin_detector(kind=kind)
    images = make_images(*SIZES)
    together = detect(model, images)
    for number, image in enumerate(images):
        alone = image.new_zeros(1, 3, 128, 128 if kind == "FPN" else 120)
        alone[0, :, : image.shape[1], : image.shape[2]] = image
        got = detect(model, ImageList(alone, [image.shape[1:]]))
        assert_same_detections(got, together[number : number + 1])


def test_odd_sizes_are_padded_by_the_model() -> None:
    # The old pyramid failed on a list of odd-sized images; only its loader's padding made it work.
    model = thin_detector()
    image = make_images((75, 91))[0]
    padded = torch.zeros(1, 3, 96, 96)
    padded[0, :, :75, :91] = image
    expected = detect(model, ImageList(padded, [(75, 91)]))
    assert expected[0].size == (91, 75)
    assert_same_detections(detect(model, [image]), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_have_the_old_names_and_order(kind: Kind) -> None:
    model = thin_detector(kind=kind)
    losses = losses_of(model, make_images(*SIZES), targets_for())
    assert list(losses) == [
        "loss_classifier",
        "loss_box_reg",
        "loss_mask",
        "loss_objectness",
        "loss_rpn_box_reg",
    ]
    gradients = gradients_of(model, losses)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen
    assert set(gradients) == {name for name, _ in model.named_parameters()} - frozen
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    # So small an image needs nothing of the coarsest level.
    silent = {name for name, gradient in gradients.items() if not gradient.any()}
    assert silent <= {"backbone.fpn.fpn_layer4.weight", "backbone.fpn.fpn_layer4.bias"}


@pytest.mark.parametrize("kind", KINDS)
def test_computing_only_real_rows_changes_nothing(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = thin_detector(kind=kind, detections=35)
    images = make_images(*SIZES)
    targets = targets_for()
    # Few enough proposals that some rows of the batch are padding.
    model.rpn.test_limits = ProposalLimits(pre_nms=30, post_nms=50, total=60)
    model.rpn.train_limits = ProposalLimits(pre_nms=30, post_nms=50, total=60)
    compact = detect(model, images)
    losses = losses_of(model, images, targets)
    gradients = gradients_of(model, losses)
    with all_rows(monkeypatch):
        assert_same_detections(detect(model.eval(), images), compact)
        padded_losses = losses_of(model, images, targets)
        padded_gradients = gradients_of(model, padded_losses)
    torch.testing.assert_close(padded_losses, losses)
    torch.testing.assert_close(padded_gradients, gradients, rtol=1e-3, atol=1e-5)


def test_the_same_seeds_give_the_same_losses() -> None:
    model, images = thin_detector(), make_images(*SIZES)
    first = losses_of(model, images, targets_for())
    torch.manual_seed(123)
    assert {k: v.item() for k, v in losses_of(model, images, targets_for()).items()} == {
        k: v.item() for k, v in first.items()
    }
    other = targets_for()
    for target in other:
        target.sample_seed = 77
    assert losses_of(model, images, other)["loss_objectness"] != first["loss_objectness"]


def test_the_order_of_the_images_does_not_matter() -> None:
    model, images = thin_detector(), make_images((96, 96), (96, 96))
    targets = targets_for(((96, 96), (96, 96)))
    forward = losses_of(model, images, targets)
    backward = losses_of(model, images[::-1], targets[::-1])
    torch.testing.assert_close(forward, backward)


def test_two_halves_of_a_batch_average_to_the_whole() -> None:
    """The sampled anchors and regions of an image are its own; so are its proposals, if asked for."""
    model, sizes = thin_detector(per_batch=False), ((96, 96),) * 4
    images, targets = make_images(*sizes), targets_for(sizes)
    whole = losses_of(model, images, targets)
    halves = [losses_of(model, images[i : i + 2], targets[i : i + 2]) for i in (0, 2)]
    for name in ("loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"):
        mean = (halves[0][name] + halves[1][name]) / 2
        torch.testing.assert_close(mean, whole[name], rtol=1e-4, atol=0)


def test_proposals_per_batch_are_shared_among_the_images() -> None:
    counts = {}
    for per_batch in (False, True):
        model = thin_detector(per_batch=per_batch)
        images = torch.stack(make_images((96, 96), (96, 96)))
        padded = PaddedTargets.from_boxlists(targets_for(((96, 96),) * 2), with_masks=True)
        with torch.no_grad():
            proposals, _ = model.rpn.forward_training(
                model.backbone(images), torch.full((2, 2), 96.0), padded
            )
        assert proposals is not None
        counts[per_batch] = proposals.valid.sum(dim=1).tolist()
    assert counts[False] == [60, 60]
    assert sum(counts[True]) == 60


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_without_targets(kind: Kind) -> None:
    model = thin_detector(kind=kind)
    targets = [targets_for()[0], make_target(128, 64, count=0)]
    losses = losses_of(model, make_images(*SIZES), targets)
    assert all(loss.isfinite() for loss in losses.values())
    assert all(loss > 0 for loss in losses.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masks", [True, False])
def test_a_batch_without_any_target(kind: Kind, masks: bool) -> None:
    model = thin_detector(kind=kind)
    targets = [make_target(h, w, count=0, masks=masks) for h, w in SIZES]
    losses = losses_of(model, make_images(*SIZES), targets)
    gradients = gradients_of(model, losses)
    # Every parameter has a gradient, as distributed training wants it, perhaps of zeros.
    assert set(gradients) == {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    for name in ("loss_box_reg", "loss_mask", "loss_rpn_box_reg"):
        assert losses[name].item() == 0.0
    for name in ("loss_classifier", "loss_objectness"):
        assert losses[name].item() > 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_padding_of_the_targets_changes_no_loss(kind: Kind) -> None:
    model = thin_detector(kind=kind).train()
    images = make_images((96, 96), (96, 96))
    batch, sizes = torch.stack(images), torch.full((2, 2), 96.0)
    targets = targets_for(((96, 96),) * 2)
    padded = PaddedTargets.from_boxlists(targets, with_masks=True)
    expected = model.compute_losses(batch, sizes, padded)
    # The same targets and instances that are not there.
    extra = make_target(96, 96, count=4, seed=9)
    longer = []
    for target in targets:
        both = BoxList(torch.cat((target.bbox, extra.bbox)), target.size)
        both.add_field("labels", torch.cat((target.get_field("labels"), extra.get_field("labels"))))
        masks = [*target.get_field("masks").instances, *extra.get_field("masks").instances]
        both.add_field("masks", SegmentationMask(masks, target.size))
        both.sample_seed = target.sample_seed
        longer.append(both)
    more = PaddedTargets.from_boxlists(longer, with_masks=True)
    for image, target in enumerate(targets):
        more.valid[image, len(target) :] = False
    torch.testing.assert_close(model.compute_losses(batch, sizes, more), expected)


def test_two_models_in_one_process() -> None:
    images = make_images(*SIZES)
    first = thin_detector(classes=4, seed=1)
    expected = detect(first, images)
    second = thin_detector(kind="C4", classes=7, with_masks=False, detections=9, seed=2)
    found = detect(second, images)
    assert [boxlist.fields() for boxlist in found] == [["scores", "labels"]] * 2
    assert max(len(boxlist) for boxlist in found) == 9
    assert max(int(boxlist.get_field("labels").max()) for boxlist in found) > 3
    assert_same_detections(detect(first, images), expected, atol=0.0)


def test_training_needs_targets() -> None:
    model, images = thin_detector().train(), make_images(*SIZES)
    with pytest.raises(ValueError, match="targets must be passed"):
        model(images)
    with pytest.raises(ShapeError, match="2 images, got 1"):
        model(images, targets_for()[:1])


def test_training_names_what_a_target_lacks() -> None:
    model, images = thin_detector().train(), make_images(*SIZES)
    targets = targets_for()
    del targets[1].extra_fields["masks"]
    with pytest.raises(ShapeError, match=r"targets\[1\].*'masks'"):
        model(images, targets)
    del targets[1].extra_fields["labels"]
    with pytest.raises(ShapeError, match=r"targets\[1\].*'labels'"):
        model(images, targets)


def test_masks_are_not_needed_by_a_model_without_masks() -> None:
    model = thin_detector(with_masks=False)
    targets = [make_target(h, w, count=2, masks=False) for h, w in SIZES]
    assert "loss_mask" not in losses_of(model, make_images(*SIZES), targets)


def test_bitmaps_and_polygons_train_alike() -> None:
    model, sizes = thin_detector(), ((96, 96), (96, 96))
    images, polygons = make_images(*sizes), targets_for(sizes)
    bitmaps = []
    for target in polygons:
        copy = target.copy_with_fields(["labels"])
        copy.add_field("masks", target.get_field("masks").convert("mask"))
        bitmaps.append(copy)
    with torch.no_grad():
        expected = losses_of(model, images, polygons)
        got = losses_of(model, images, bitmaps)
    assert got["loss_mask"].item() == pytest.approx(expected["loss_mask"].item(), rel=0.02)
    assert got["loss_classifier"] == expected["loss_classifier"]


@pytest.mark.parametrize("kind", KINDS)
def test_under_autocast_predictions_are_float32(kind: Kind) -> None:
    model = thin_detector(kind=kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = detect(model, make_images(*SIZES))
        losses = losses_of(model, make_images(*SIZES), targets_for())
    assert all(boxlist.bbox.dtype == torch.float32 for boxlist in found)
    assert all(boxlist.get_field("mask").dtype == torch.float32 for boxlist in found)
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    gradients_of(model, losses)


def test_the_old_entry_point_builds_the_same_model() -> None:
    from maskrcnn_benchmark.config import get_defaults
    from maskrcnn_benchmark.modeling.detector import build_detection_model

    cfg = get_defaults()
    with torch.device("meta"):
        model = build_detection_model(cfg)
    assert isinstance(model, GeneralizedRCNN)
    assert not model.with_masks
