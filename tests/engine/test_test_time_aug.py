"""Test-time augmentation: one view is an ordinary test, mirrored images give mirrored results, scales by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from maskrcnn_benchmark.engine.test_time_aug import TestTimeAugmentation, View, make_views
from maskrcnn_benchmark.errors import ConfigError
from maskrcnn_benchmark.layers.nms import nms
from maskrcnn_benchmark.modeling.detector import GeneralizedRCNN
from maskrcnn_benchmark.structures.bounding_box import FLIP_LEFT_RIGHT, BoxList
from maskrcnn_benchmark.structures.image_list import to_image_list
from maskrcnn_benchmark.structures.padded import PaddedDetections
from tests.thin_cascade import thin_cascade
from tests.thin_models import make_images, thin_detector
from tests.thin_retinanet import thin_retinanet

PAIRS = ((0, 1), (3, 4))


def resize_to(short_side: int, long_side: int) -> Callable[[Tensor], Tensor]:
    """Square images only: the short side is both."""

    def resize(image: Tensor) -> Tensor:
        factor = short_side / min(image.shape[-2:])
        size = [min(round(side * factor), long_side) for side in image.shape[-2:]]
        return nn.functional.interpolate(image[None], size=size, mode="bilinear")[0]

    return resize


def unchanged(image: Tensor) -> Tensor:
    return image


PLAIN, MIRRORED = View(transform=unchanged), View(transform=unchanged, flip=True)

DETECTORS: dict[str, Callable[[], Any]] = {
    "FPN": lambda: thin_detector(with_keypoints=True),
    "C4": lambda: thin_detector(kind="C4", with_keypoints=True),
    "boxes": lambda: thin_detector(with_masks=False),
    "proposals": lambda: thin_detector(with_heads=False),
    "RetinaNet": thin_retinanet,
    "cascade": thin_cascade,
}


def assert_same(ours: BoxList, theirs: BoxList, tolerance: float = 0) -> None:
    assert ours.size == theirs.size
    assert ours.fields() == theirs.fields()
    assert len(theirs) > 3
    values = [(ours.bbox, theirs.bbox)]
    for name in ours.fields():
        mine, other = ours.get_field(name), theirs.get_field(name)
        if name == "keypoints":
            # A side that is nearly a whole number of pixels may be rounded up differently.
            is_near = ((mine.keypoints - other.keypoints).abs() <= tolerance).flatten(1).all(dim=1)
            assert is_near.float().mean() >= (0.9 if tolerance else 1)
            values += [(mine.get_field("logits")[is_near], other.get_field("logits")[is_near])]
        else:
            values += [(mine, other)]
    for mine, other in values:
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", DETECTORS)
def test_one_view_is_an_ordinary_test(kind: str) -> None:
    model = DETECTORS[kind]()
    images = make_images((96, 128), (80, 70))
    with torch.no_grad():
        expected = model(images)
    found = TestTimeAugmentation([PLAIN])(model, images, "cpu")
    for ours, theirs in zip(found, expected, strict=True):
        assert_same(ours, theirs)


@pytest.mark.parametrize("kind", DETECTORS)
def test_a_mirrored_image_gives_mirrored_results(kind: str) -> None:
    model = DETECTORS[kind]()
    augmentation = TestTimeAugmentation([PLAIN, MIRRORED], keypoint_flip_pairs=PAIRS)
    (image,) = make_images((90, 117), seed=5)
    (found,) = augmentation(model, [image], "cpu")
    (mirrored,) = augmentation(model, [image.flip(-1)], "cpu")
    assert_same(mirror(mirrored), found, tolerance=2e-4)


def mirror(boxes: BoxList) -> BoxList:
    """Boxes, masks and keypoints of a mirrored image (BoxList.transpose leaves predicted masks as they are)."""
    result = boxes.copy_with_fields([n for n in boxes.fields() if n not in ("mask", "keypoints")])
    result = result.transpose(FLIP_LEFT_RIGHT)
    for name in boxes.fields():
        if name == "mask":
            result.add_field("mask", boxes.get_field("mask").flip(-1))
        if name == "keypoints":
            keypoints = boxes.get_field("keypoints")
            order = torch.tensor([1, 0, 2, 4, 3])
            points = keypoints.keypoints[:, order].clone()
            points[..., 0] = boxes.size.width - 1 - points[..., 0]
            moved = type(keypoints)(points, boxes.size)
            moved.add_field("logits", keypoints.get_field("logits")[:, order])
            result.add_field("keypoints", moved)
    return result


def candidates(model: GeneralizedRCNN, image: Tensor) -> tuple[BoxList, list[Tensor]]:
    """Every box of every class in one image, with scores and labels, and the backbone's maps."""
    batch = model.to_batch(to_image_list([image]))
    sizes = torch.tensor(batch.image_sizes, dtype=torch.float32)
    assert model.roi_heads is not None
    with torch.no_grad():
        features = model.backbone(batch.tensors)
        proposals = model.rpn(features, sizes)
        found = model.roi_heads.box.candidates(features, proposals, sizes)
    boxes = BoxList(found.boxes[0], batch.image_sizes[0].transposed())
    boxes.add_field("scores", found.scores[0])
    boxes.add_field("labels", found.labels[0])
    return boxes[found.valid[0]], features


def test_scales_by_hand() -> None:
    model = thin_detector(detections=12)
    (image,) = make_images((80, 100), seed=3)
    views = [PLAIN, MIRRORED, View(transform=resize_to(130, 200), flip=True)]
    (found,) = TestTimeAugmentation(views)(model, [image], "cpu")

    parts, maps, sizes = [], [], []
    for view in views:
        seen = view.transform(image)
        boxes, features = candidates(model, seen.flip(-1) if view.flip else seen)
        sizes.append(boxes.size)
        maps.append(features)
        parts.append((boxes.transpose(FLIP_LEFT_RIGHT) if view.flip else boxes).resize(sizes[0]))
    together = torch.cat([part.bbox for part in parts])
    scores, labels = (
        torch.cat([part.get_field(name) for part in parts]) for name in ("scores", "labels")
    )
    kept = []
    for label in labels.unique():
        rows = ((labels == label) & (scores > 0.05)).nonzero().squeeze(1)
        kept.append(rows[nms(together[rows], scores[rows], 0.5)])
    rows = torch.cat(kept)
    rows = rows[scores[rows].argsort(descending=True)][:12]
    torch.testing.assert_close(found.bbox, together[rows], rtol=0, atol=1e-4)
    torch.testing.assert_close(found.get_field("scores"), scores[rows], rtol=0, atol=1e-6)
    assert found.get_field("labels").tolist() == labels[rows].tolist()

    masks = []
    assert model.roi_heads is not None
    assert model.roi_heads.mask is not None
    for view, features, size in zip(views, maps, sizes, strict=True):
        boxes = BoxList(together[rows], sizes[0]).resize(size)
        boxes = boxes.transpose(FLIP_LEFT_RIGHT) if view.flip else boxes
        regions = PaddedDetections(
            boxes.bbox[None],
            scores[rows][None],
            labels[rows][None],
            torch.ones(1, len(rows), dtype=torch.bool),
        )
        with torch.no_grad():
            mask = model.roi_heads.mask(features, regions)[0]
        masks.append(mask.flip(-1) if view.flip else mask)
    average = torch.stack(masks).mean(dim=0)
    torch.testing.assert_close(found.get_field("mask")[:, 0], average, rtol=0, atol=1e-4)
    assert (masks[0] - average).abs().max() > 0.01, "the views do differ"


@pytest.mark.parametrize("kind", ["FPN", "RetinaNet", "proposals"])
def test_a_batch_is_its_images(kind: str) -> None:
    model = DETECTORS[kind]()
    views = [PLAIN, View(transform=resize_to(120, 200), flip=True)]
    augmentation = TestTimeAugmentation(views, size_divisible=32)
    images = make_images((80, 100), (80, 100))
    together = augmentation(model, images, "cpu")
    for image, ours in zip(images, together, strict=True):
        (alone,) = augmentation(model, [image], "cpu")
        assert_same(ours, alone, tolerance=2e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["FPN", "RetinaNet", "proposals"])
def test_on_a_gpu(kind: str) -> None:
    views = [PLAIN, MIRRORED, View(transform=resize_to(120, 200), flip=True)]
    augmentation = TestTimeAugmentation(views, keypoint_flip_pairs=PAIRS)
    images = make_images((80, 100), (64, 90))
    model = DETECTORS[kind]()
    expected = augmentation(model, images, "cpu")
    found = augmentation(model.cuda(), images, "cuda")
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.bbox.is_cuda
        best = theirs.get_field("objectness" if kind == "proposals" else "scores").topk(3).values
        ours = ours.to("cpu")
        mine = ours.get_field("objectness" if kind == "proposals" else "scores").topk(3).values
        torch.testing.assert_close(mine, best, rtol=0, atol=0.02)


def test_merged_detections_are_suppressed_and_counted() -> None:
    model = thin_retinanet()
    (image,) = make_images((96, 128))
    with torch.no_grad():
        (plain,) = model([image])
    # The same view twice adds nothing.
    (found,) = TestTimeAugmentation([PLAIN, PLAIN])(model, [image], "cpu")
    assert_same(found, plain)


def test_views_and_their_order() -> None:
    asked: list[tuple[int, int]] = []

    def transform_at(short_side: int, long_side: int) -> Callable[[Tensor], Tensor]:
        asked.append((short_side, long_side))
        return unchanged

    views = make_views(
        transform_at,
        min_size=800,
        max_size=1333,
        flip=True,
        scales=(400, 1200),
        scales_max_size=2000,
    )
    assert asked == [(800, 1333), (400, 2000), (1200, 2000)]
    assert [view.flip for view in views] == [False, True, False, False]
    assert len(make_views(transform_at, min_size=800, max_size=1333)) == 1
    views = make_views(transform_at, min_size=8, max_size=9, scales=(4,), scales_flip=True)
    assert [view.flip for view in views] == [False, False, True]


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match="a first view that is not mirrored"):
        TestTimeAugmentation([])
    with pytest.raises(ConfigError, match="a first view that is not mirrored"):
        TestTimeAugmentation([MIRRORED, PLAIN])
    with pytest.raises(ConfigError, match=r"got Linear; set TEST\.BBOX_AUG\.ENABLED False"):
        TestTimeAugmentation([PLAIN])(nn.Linear(1, 1), [], "cpu")
    model = thin_detector()
    assert model.roi_heads is not None
    model.roi_heads.box = nn.Identity()  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="which Identity does not give"):
        TestTimeAugmentation([PLAIN])(model, make_images((64, 64)), "cpu")
